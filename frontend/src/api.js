// Talking to the server: requests, a queue of commands that survives breaks, the stream of events.

const TAB = crypto.randomUUID();
export const AWAY = "The server does not answer. Your edits are kept here, and sent again.";

/** An answer of the server as JSON; throws an Error with its words and `status`. */
export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  const content = await response.json();
  if (response.ok) return content;
  throw Object.assign(new Error(content.error), { status: response.status, content });
}

/**
 * Commands, sent one after the other. One that got no answer is sent again, with its key, so that
 * it is done once; those that wait are also kept in the browser, for a page that is loaded again.
 */
export class Queue {
  constructor(project, { onAnswer, onRefused, onState }) {
    Object.assign(this, { onAnswer, onRefused, onState });
    this.stored = `nucleist-${project}`; // another folder may have had this port before
    this.waiting = JSON.parse(localStorage.getItem(this.stored) ?? "[]");
    this.busy = false;
  }

  add(index, command, seen) {
    // What a command saw counts from when it is sent: earlier ones of this page are before it.
    this.waiting.push({ index, command, seen, key: crypto.randomUUID(), tab: TAB });
    this.keep();
    this.send();
  }

  keep() {
    if (this.waiting.length) localStorage.setItem(this.stored, JSON.stringify(this.waiting));
    else localStorage.removeItem(this.stored);
  }

  async send() {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.length) {
      const { index, ...rest } = this.waiting[0];
      try {
        const answer = await ask(`/api/images/${index}/commands`, rest);
        for (const later of this.waiting) if (later.index === index) later.seen = answer.revision;
        this.onState(answer.saved ? "" : `Not saved, will be tried again: ${answer.problem}`);
        this.drop();
        this.onAnswer(index, answer);
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 401) {
          this.drop();
          this.onRefused(index, error);
        } else {
          this.onState(AWAY);
          await new Promise((done) => setTimeout(done, 1000));
        }
      }
    }
    this.busy = false;
  }

  drop() {
    this.waiting.shift();
    this.keep();
  }
}

/** Listen to what happens; `handlers` by the name of the event. Own changes are left out. */
export function listen(handlers) {
  const stream = new EventSource("/api/events");
  for (const [name, handle] of Object.entries(handlers))
    stream.addEventListener(name, (event) => {
      const content = JSON.parse(event.data);
      if (content.tab !== TAB) handle(content);
    });
  return stream;
}
