/**
 * `npm run bench -- services`: compares the nftables mode of Services with kube-proxy's ruleset. Exits with 1 if a
 * bound is exceeded.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { median } from "../statistics.ts";
import { ServicesBench } from "./bed.ts";
import type { Programmed } from "./child.ts";
import { kubeProxyRuleset } from "./opponent.ts";
import { clusterIp, otherClusterIp } from "./population.ts";
import { boundsOf, type FlipReport, flipReport, formatServices, type Loaded, type ServicesReport } from "./report.ts";

interface Options {
  readonly services: number;
  readonly endpoints: number;
  readonly few: number;
  readonly many: number;
  readonly flips: number;
  readonly connections: number;
  readonly kubeProxy: readonly number[];
  readonly limit: number;
  readonly realtime: boolean;
  readonly output: "table" | "json";
}

/** The number of cold starts. */
const ROUNDS = 3;

const count = (text: string) => {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > 200_000) {
    throw new InvalidArgumentError("expected a whole number from 1 to 200000.");
  }
  return number;
};
const option = (flags: string, about: string, value: number) =>
  new Option(flags, about).default(value).argParser(count);

const options = new Command("bench services")
  .description(
    "Measures the nftables mode of Services in network namespaces: cold start, restart, one endpoint's change, the first packet. " +
      "Compares with nft -f of the same elements, and of the ruleset that kube-proxy 1.36 writes. Needs root and gcc.",
  )
  .addOption(option("--services <n>", "number of Services in the cold start", 10_000))
  .addOption(option("--endpoints <n>", "number of endpoints of each Service", 5))
  .addOption(option("--few <n>", "number of Services in the first round of changes", 100))
  .addOption(option("--many <n>", "number of Services in the second round of changes, and for first packets", 30_000))
  .addOption(option("--flips <n>", "number of changes of one endpoint in each round", 2000))
  .addOption(option("--connections <n>", "number of connections to each address", 4000))
  .addOption(
    new Option("--kube-proxy <sizes>", "numbers of Services of kube-proxy's ruleset, ascending")
      .default([1000, 2000, 5000, 10_000, 20_000, 30_000])
      .argParser((text: string) => text.split(",").map(count)),
  )
  .addOption(option("--limit <seconds>", "seconds that kube-proxy's ruleset may take to load", 300))
  .addOption(new Option("--realtime", "measure both sides at real-time priority, for a busy machine").default(false))
  .addOption(new Option("-o, --output <form>", "output format").choices(["table", "json"]).default("table"))
  .parse()
  .opts<Options>();

const bench = await ServicesBench.make(options.realtime);
try {
  const report = await measure(bench, options);
  const bounds = boundsOf(report);
  const json = JSON.stringify({ ...report, bounds }, undefined, 2);
  console.log(options.output === "json" ? json : formatServices(report));
  process.exitCode = bounds.some(({ isKept }) => isKept === false) ? 1 : 0;
} finally {
  await bench.close();
}

function say(text: string): void {
  console.error(`services: ${text}`);
}

async function measure(bed: ServicesBench, options: Options): Promise<ServicesReport> {
  const { services, endpoints, few, many, flips } = options;
  say(`cold start with ${services} Services`);
  const cold = await coldStart(bed, services, endpoints);
  const restart = await bed.carryOut({ do: "restart" });
  const text = await bed.node.succeed("nft", ["list", "table", "inet", "weft-services"]);
  const ownTextMs = (await bed.load(bed.node, text, options.limit)) ?? Number.NaN;
  const reports: FlipReport[] = [];
  const longest = [cold.longestMs];
  for (const size of [few, many]) {
    say(`${flips} changes with ${size} Services`);
    longest.push((await coldStart(bed, size, endpoints)).longestMs);
    const flipped = await bed.carryOut({ do: "flips", count: flips });
    reports.push(flipReport(size, flipped.ms));
  }
  const kubeProxy = await loadKubeProxy(bed, options);
  const firstPacket = await timeConnections(bed, options, kubeProxy.at(-1));
  return {
    ...{ services, endpoints, coldMs: cold.ms, ownTextMs, restart, flips: reports, kubeProxy, firstPacket },
    longestTransactionMs: Math.max(...longest),
  };
}

/** The fastest of several, which other programs disturbed least. */
async function coldStart(bed: ServicesBench, services: number, endpoints: number) {
  const rounds: Programmed[] = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push(await bed.carryOut({ do: "cold", services, endpoints }));
  return {
    ms: Math.min(...rounds.map(({ ms }) => ms)),
    longestMs: Math.min(...rounds.map(({ longestMs }) => longestMs)),
  };
}

/** Stops after the first that takes too long: the time grows faster than the size. */
async function loadKubeProxy(bed: ServicesBench, { kubeProxy, endpoints, limit }: Options): Promise<Loaded[]> {
  const loaded: Loaded[] = [];
  for (const services of kubeProxy) {
    say(`kube-proxy's ruleset for ${services} Services`);
    const ms = await bed.load(bed.other, kubeProxyRuleset(services, endpoints), limit);
    if (ms === undefined) {
      say(`more than ${limit} seconds`);
      break;
    }
    loaded.push({ services, ms });
  }
  const last = loaded.at(-1);
  // The ruleset that exceeded the limit has left an empty one.
  if (last !== undefined) await bed.load(bed.other, kubeProxyRuleset(last.services, endpoints), 2 * limit);
  return loaded;
}

async function timeConnections(bed: ServicesBench, { many, connections }: Options, other: Loaded | undefined) {
  say(`first packets with ${many} Services`);
  const addresses = [clusterIp(0), clusterIp(many - 1), ...(other ? [otherClusterIp(other.services - 1)] : [])];
  await bed.connect(addresses, 100);
  const samples = await bed.connect(addresses, connections);
  const [firstUs = Number.NaN, lastUs = Number.NaN, kubeProxyUs = Number.NaN] = samples.map(median);
  return { services: many, firstUs, lastUs, kubeProxyServices: other?.services ?? 0, kubeProxyUs };
}
