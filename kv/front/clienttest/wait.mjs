// Waiting for what must come: for the next item where there is an event, by
// asking again where there is none. Both give up after waitMillis.

const waitMillis = 15_000; // for a busy machine

/** What has arrived and nobody has taken yet. */
export class Inbox {
  #items = [];
  #waiting = [];

  /** Bound to its inbox: an event handler. With several arguments the item is their array. */
  put = (...args) => {
    const item = args.length > 1 ? args : args[0];
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  };

  /** The next item, in order of arrival. */
  async take() {
    if (this.#items.length > 0) return this.#items.shift();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`nothing arrived in ${waitMillis} ms`)), waitMillis);
    });
    try {
      return await Promise.race([new Promise((resolve) => this.#waiting.push(resolve)), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next n items. */
  async takeAll(n) {
    const items = [];
    while (items.length < n) items.push(await this.take());
    return items;
  }

  /** How many have arrived and were not taken. */
  get length() {
    return this.#items.length;
  }
}

/** Asks until the answer is true, and returns it. */
export async function until(ask) {
  const deadline = Date.now() + waitMillis;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`still not so after ${waitMillis} ms: ${ask}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let names = 0;

/** A name that no other test uses, also not one of another run on the same server. */
export const unused = (what) => `${what}:${process.pid}:${Date.now()}:${++names}`;
