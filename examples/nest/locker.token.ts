/** The token of the locker, for `@Inject(LOCKER) locker: Locker`. */
export const LOCKER = Symbol('LOCKER');
