/** `npm run bench -- scale services`: one weftd with many Services and Nodes. Exits with 1 if a bound is exceeded. */
import { Command, Option } from "commander";
import { ServicesScale } from "./services-bed.ts";
import { formatServiceScale, isServiceScaleKept, type ServiceSize } from "./services-report.ts";

const CHANGES_PER_SECOND = 1000;
const CHURN_SECONDS = 10;
/** Unmeasured changes at the start: V8 compiles code that runs often. */
const WARM_UP = 50;

const numbers = (text: string) => text.split(",").map(Number);
const options = new Command("bench scale services")
  .description(
    "Measures one weftd with Services and Nodes: start, restart, the change of one endpoint, memory, and a thousand changes a " +
      "second during a thousand connections a second.",
  )
  .addOption(
    new Option("--services <sizes>", "numbers of Services, ascending")
      .argParser(numbers)
      .default([100, 10_000, 30_000]),
  )
  .addOption(new Option("--endpoints <n>", "number of endpoints of each Service").argParser(Number).default(5))
  .addOption(new Option("--nodes <n>", "other Nodes").argParser(Number).default(1000))
  .addOption(new Option("--flips <n>", "number of changes of one endpoint at each size").argParser(Number).default(300))
  .addOption(new Option("-o, --output <form>", "output format").choices(["table", "json"]).default("table"))
  .parse()
  .opts<{ services: number[]; endpoints: number; nodes: number; flips: number; output: "table" | "json" }>();

const bed = await ServicesScale.make(options.nodes);
const sizes: ServiceSize[] = [];
try {
  for (const services of options.services) {
    console.error(`scale: ${services} Services`);
    await bed.populate(services, options.endpoints);
    const cold = await bed.start(true);
    const restart = await bed.start(false);
    await bed.flips(WARM_UP);
    const residentBytes = await bed.residentBytes();
    const flips = await bed.flips(options.flips);
    console.error(`scale: ${services} Services, ${CHANGES_PER_SECOND} changes a second`);
    const churn = await bed.churn(CHANGES_PER_SECOND, CHURN_SECONDS);
    const use = { residentBytes, churnedBytes: await bed.residentBytes(), cpuSeconds: await bed.cpuSeconds() };
    sizes.push({ services, cold, restart, flips, churn, ...use });
  }
} finally {
  await bed.close();
}
const report = { endpoints: options.endpoints, nodes: options.nodes, sizes };
console.log(options.output === "json" ? JSON.stringify(report, undefined, 2) : formatServiceScale(report));
process.exitCode = isServiceScaleKept(report) ? 0 : 1;
