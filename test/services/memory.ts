/**
 * Measures the memory and time of the stores, the core and the mode, compared with a process that has none of them:
 *
 *     hack/in-node node test/services/memory.ts [SERVICES [ENDPOINTS [NODE_FLAG...]]]
 *
 * The simulated API server runs in this process, everything else in a child process. Prints a table.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { startApiServer } from "../apiserver/server.ts";
import { populationService, populationSlice } from "./population.ts";

const [services = "10000", endpoints = "5", ...flags] = process.argv.slice(2);
const server = await startApiServer({ historyLimit: 10 });
for (let n = 0; n < Number(services); n++) {
  server.cluster.of("services").create(populationService(n));
  server.cluster.of("endpointslices").create(populationSlice(n, Number(endpoints)));
}
const folder = mkdtempSync(join(tmpdir(), "weft-memory-"));
try {
  const [kubeconfig, bundle] = [join(folder, "kubeconfig"), join(folder, "child.cjs")];
  writeFileSync(kubeconfig, server.kubeconfig());
  const entryPoints = [join(import.meta.dirname, "memory-child.ts")];
  await build({ entryPoints, bundle: true, platform: "node", format: "cjs", outfile: bundle, logLevel: "error" });
  const child = spawn(process.execPath, ["--expose-gc", ...flags, bundle, kubeconfig], { stdio: "inherit" });
  await once(child, "exit");
} finally {
  rmSync(folder, { recursive: true });
  await server.close();
}
