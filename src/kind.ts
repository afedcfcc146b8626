/**
 * The kinds of locks. A kind is the number of entries that may hold a name together: 1 is exclusive, Infinity is shared, any other
 * number is a semaphore. Different kinds exclude each other.
 */

/** The Web Locks standard's word for a kind: 'exclusive' if one entry holds alone, 'shared' if several may hold together. */
export type Mode = 'exclusive' | 'shared';

export const exclusive = 1;
export const shared = Infinity;

export const modeOf = (slots: number): Mode => (slots === exclusive ? 'exclusive' : 'shared');
