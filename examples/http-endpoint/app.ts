/**
 * An HTTP endpoint that pays each order once. Needs `npm i fastify`.
 *
 * A request waits up to two seconds for its order, then answers 409. Without etcd, or if the lock is lost, it answers 503.
 */
import { isLockerError, type Locker } from 'etcd-locker';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';

export interface Services {
  readonly locker: Locker;
  /** The payment service that the endpoint calls. */
  readonly paymentUrl: string;
}

export function createApp({ locker, paymentUrl }: Services): FastifyInstance {
  const app = Fastify();

  app.post<{ Params: { id: string } }>('/orders/:id/pay', async (request, reply) => {
    const { id } = request.params;
    // The client's disconnect cancels the wait. It does not cancel a payment that has begun.
    const options = { timeoutMs: 2_000, signal: disconnectOf(reply) };
    return locker.withLock(`orders/${id}`, options, async (lock) => {
      const response = await fetch(`${paymentUrl}/${id}`, {
        method: 'POST',
        headers: { 'fencing-token': String(lock.fencingToken) }, // lets the payment service reject an older holder
        signal: lock.signal, // aborts the call if the lock is lost
      });
      if (!response.ok) throw new Error(`The payment service answered ${response.status}`);
      return { paid: id };
    });
  });

  app.setErrorHandler((error, _request, reply) => {
    if (!isLockerError(error)) return reply.send(error);
    const { code } = error; // its message names the holder, which is for the log and not for the client
    switch (code) {
      case 'LOCK_TIMEOUT': // another request works on the order
        return reply.code(409).header('retry-after', '2').send({ code });
      case 'ETCD_UNAVAILABLE': // etcd is down
      case 'LOCK_LOST': // another process may have worked on the order
      case 'LOCKER_CLOSED': // this process ends
        return reply.code(503).header('retry-after', '5').send({ code });
      default: // wrong credentials and the like: for the log, not for the client
        return reply.code(500).send({ code });
    }
  });

  // At shutdown, a response also ends its connection. Otherwise app.close() waits for clients that keep theirs open.
  let isClosing = false;
  app.addHook('preClose', (done) => {
    isClosing = true;
    done();
  });
  app.addHook('onSend', async (_request, reply) => {
    if (isClosing) reply.header('connection', 'close');
  });

  return app;
}

/**
 * Returns a signal that aborts if the client closes the connection before it has the response.
 *
 * Fastify's own `request.signal` aborts too early: as soon as the body of the request has been read.
 */
function disconnectOf({ raw }: FastifyReply): AbortSignal {
  const controller = new AbortController();
  raw.once('close', () => {
    if (!raw.writableFinished) controller.abort(new Error('The client has disconnected'));
  });
  return controller.signal;
}
