/** weftd's entry point: reads the command line, starts the daemon, and stops it on a signal. */
import { keepHeapSmall } from "./core/heap.ts";
import { openLog } from "./core/log.ts";
import { runTranslation, TRANSLATE } from "./kube-proxy/command.ts";
import { parseOptions } from "./options.ts";
import { runWeftd } from "./weftd.ts";

/** Longer than any request to the kernel takes, and shorter than the 30 seconds that a pod has by default. */
const STOP_LIMIT_MS = 10_000;

async function main(): Promise<void> {
  keepHeapSmall();
  const [word, ...rest] = process.argv.slice(2);
  if (word === TRANSLATE) {
    runTranslation(rest);
    return;
  }
  const options = parseOptions(process.argv.slice(2));
  const log = openLog(options.logLevel, options.nodeName);
  const end = (error: unknown): never => {
    log.fatal({ err: error }, "weftd exits; the data path stays programmed");
    process.exit(1);
  };
  process.on("uncaughtException", end);
  process.on("unhandledRejection", end);

  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info({ signal }, "stopping; the data path and the conflist stay in place");
      setTimeout(() => end(new Error(`not stopped within ${STOP_LIMIT_MS / 1000} seconds`)), STOP_LIMIT_MS).unref();
      stopping.abort();
    });
  }
  await runWeftd(options, log, stopping.signal).catch((error) => {
    if (!stopping.signal.aborted) end(error);
  });
  log.info("stopped");
}

void main();
