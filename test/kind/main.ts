/** `hack/kind`: a three-node kind cluster with weft as its network, and an end-to-end test on it. */
import { Command } from "commander";
import { Cluster } from "./cluster.ts";
import { endToEnd } from "./e2e.ts";
import { imagine } from "./rehearsal.ts";
import { dryTools, realTools } from "./tools.ts";

const root = process.cwd();
const program = new Command("hack/kind")
  .description(
    "A three-node Kubernetes cluster in containers, with weft as its network. Needs docker, kind and kubectl.",
  )
  .option("--name <name>", "name of the cluster", "weft")
  .option("--dry-run", "print the commands without running them");

program
  .command("up")
  .description("build the image, make the cluster, and install weft on it")
  .option("--dual-stack", "IPv4 and IPv6")
  .option("--services", "without kube-proxy: weftd serves Services")
  .action(({ dualStack, services = false }: { dualStack?: boolean; services?: boolean }) =>
    act((cluster, isDry) => {
      cluster.up({ families: dualStack === true ? "dual" : "ipv4", hasServices: services }, isDry);
      console.log(`export KUBECONFIG=${cluster.kubeconfig}`);
    }),
  );
program
  .command("e2e")
  .description(
    "test that pods, nodes, host ports and a Service reach each other, by VXLAN and by plain routes; dual-stack if the cluster is",
  )
  .action(() =>
    act((cluster, isDry) => {
      const failures = endToEnd(cluster, root);
      for (const failure of failures) console.error(`e2e: FAILED: ${failure}`);
      if (failures.length > 0) process.exitCode = 1;
      else console.log(isDry ? "e2e: dry run: the answers are simulated" : "e2e: all connections succeeded");
    }),
  );
program
  .command("down")
  .description("remove the cluster that `up` has made")
  .action(() => act((cluster, isDry) => cluster.down(isDry)));
program.parse();

function act(work: (cluster: Cluster, isDry: boolean) => void): void {
  const { name, dryRun = false } = program.opts<{ name: string; dryRun?: boolean }>();
  try {
    work(new Cluster(name, dryRun ? dryTools(imagine) : realTools, root), dryRun);
  } catch (error) {
    console.error(`hack/kind: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
