// ask.mjs URL...: prints a JSON object with the answer of each: { "http://...": { pod, client } or { error } }. Repeats a
// request without an answer for 20 seconds: a Service is programmed a moment after its pods are ready.
import { setTimeout as sleep } from "node:timers/promises";

const patienceMs = 20_000;

async function ask(url) {
  const until = Date.now() + patienceMs;
  for (;;) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(3_000), headers: { connection: "close" } });
      return await answer.json();
    } catch (error) {
      if (Date.now() > until) return { error: String(error.cause ?? error) };
      await sleep(500);
    }
  }
}

const urls = process.argv.slice(2);
const answers = await Promise.all(urls.map(ask));
console.log(JSON.stringify(Object.fromEntries(urls.map((url, at) => [url, answers[at]]))));
