/**
 * Switches off the release of locks whose handles are dropped, in this process.
 *
 * Many tests drop the handle of a lock that they hold until their end. The garbage collector runs when it likes, so such a test would
 * sometimes lose its lock. tests/telemetry runs programs in processes of their own, with their garbage collected.
 */
class KeepsAll implements FinalizationRegistry<unknown> {
  readonly [Symbol.toStringTag] = 'FinalizationRegistry';

  register(): void {
    // Forgotten.
  }

  unregister(): boolean {
    return false;
  }
}

globalThis.FinalizationRegistry = KeepsAll;
