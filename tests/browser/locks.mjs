// What perihelion.js uses of Web Locks, for tests in Node, which has none yet: exclusive locks, `signal` and `steal`.

export class LockManager {
  #queues = new Map();

  request(name, { signal, steal = false }, callback) {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    return new Promise((resolve, reject) => {
      const abort = () => reject(new DOMException("no longer", "AbortError"));
      const lock = { begin: null, abort };
      lock.begin = async () => {
        lock.held = true;
        signal?.removeEventListener("abort", lock.leave);
        try {
          resolve(await callback({ name }));
        } catch (error) {
          reject(error);
        } finally {
          this.#remove(queue, lock);
        }
      };
      lock.leave = () => {
        abort();
        this.#remove(queue, lock);
      };
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", lock.leave);
      if (steal) {
        const robbed = queue[0]?.held ? queue.shift() : null;
        queue.unshift(lock);
        robbed?.abort();
      } else {
        queue.push(lock);
      }
      queueMicrotask(() => this.#next(queue));
    });
  }

  #remove(queue, lock) {
    const at = queue.indexOf(lock);
    if (at >= 0) queue.splice(at, 1);
    this.#next(queue);
  }

  #next(queue) {
    if (queue.length && !queue[0].held) queue[0].begin();
  }
}
