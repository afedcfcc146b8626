/** Tests of the list of callers: its order, and its cost when thousands leave it. */
import { describe, expect, test } from 'vitest';
import { OrderedList } from '../../src/queue/ordered-list.ts';

interface Item {
  readonly id: number;
  isIn: boolean;
}

function fill(count: number): { list: OrderedList<Item>; items: readonly Item[]; leave: (item: Item | undefined) => void } {
  const list = new OrderedList<Item>(({ isIn }) => isIn);
  const items = Array.from({ length: count }, (_, id) => ({ id, isIn: true }));
  for (const item of items) list.push(item);
  const leave = (item: Item | undefined): void => {
    if (item?.isIn !== true) return;
    item.isIn = false;
    list.onLeave();
  };
  return { list, items, leave };
}

const idsOf = (list: OrderedList<Item>): number[] => [...list].map(({ id }) => id);

describe('an ordered list', () => {
  test('keeps the order when items leave from both ends and from between', () => {
    const { list, items, leave } = fill(6);

    for (const at of [0, 5, 2]) leave(items[at]);

    expect(idsOf(list)).toEqual([1, 3, 4]);
    expect([list.first?.id, list.last?.id, list.size]).toEqual([1, 4, 3]);
    list.push({ id: 6, isIn: true });
    expect(idsOf(list)).toEqual([1, 3, 4, 6]);
  });

  test('is empty when all have left, and can be filled again', () => {
    const { list, items, leave } = fill(100);

    for (const item of items) leave(item);

    expect([list.first, list.last, list.size, idsOf(list)]).toEqual([undefined, undefined, 0, []]);
    list.push({ id: 1, isIn: true });
    expect([list.first?.id, list.last?.id, list.size]).toEqual([1, 1, 1]);
  });

  test('an iteration visits each item once while items leave', () => {
    const { list, items, leave } = fill(100);
    const seen: number[] = [];

    for (const item of list) {
      seen.push(item.id);
      leave(item);
      leave(items[item.id + 1]);
    }

    expect(seen).toEqual(Array.from({ length: 50 }, (_, index) => 2 * index));
  });

  test.each([
    ['from the front', (list: OrderedList<Item>) => list.first],
    ['from the back', (list: OrderedList<Item>) => list.last],
  ])('200 000 items leave %s in linear time', (_, next) => {
    const { list, leave } = fill(200_000);
    const startedAt = performance.now();

    while (list.size > 0) leave(next(list));

    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});
