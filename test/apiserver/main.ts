/**
 * The test API server as a separate process:
 *
 *     node test/apiserver/main.ts --listen 10.0.0.1:6443 --kubeconfig-out /run/api.kubeconfig
 *
 * Prints one line of JSON when it is ready, and exits with status 0 on SIGTERM or SIGINT.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseAllDocuments } from "yaml";
import { admitBy, type Policy } from "./admission.ts";
import { serveControl } from "./control.ts";
import { permitsOf, type RbacObject } from "./rbac.ts";
import { type ApiServerOptions, startApiServer } from "./server.ts";

const USAGE =
  "usage: main.ts --listen HOST:PORT [--kubeconfig-out FILE] [--token TOKEN] [--bookmark-seconds N] " +
  "[--tls-cert FILE --tls-key FILE [--tls-ca FILE]] [--history N] [--control-socket FILE] [--rbac FILE]";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: "string" },
      "kubeconfig-out": { type: "string" },
      token: { type: "string" },
      "bookmark-seconds": { type: "string" },
      "tls-cert": { type: "string" },
      "tls-key": { type: "string" },
      "tls-ca": { type: "string" },
      history: { type: "string" },
      "control-socket": { type: "string" },
      rbac: { type: "string" },
    },
  });
  const bookmarkSeconds = Number(values["bookmark-seconds"] ?? 60);
  if (!(bookmarkSeconds > 0))
    throw new Error(`--bookmark-seconds ${values["bookmark-seconds"]}: not a positive number`);
  const server = await startApiServer({
    ...parseListen(values.listen),
    ...readTls(values["tls-cert"], values["tls-key"], values["tls-ca"]),
    ...(values.token === undefined ? {} : { token: values.token }),
    ...(values.rbac === undefined ? {} : readRbac(values.rbac)),
    bookmarkMs: bookmarkSeconds * 1000,
    ...(values.history === undefined ? {} : { historyLimit: Number(values.history) }),
  });
  const control = values["control-socket"];
  if (control !== undefined) await serveControl(server, control);
  const kubeconfig = values["kubeconfig-out"];
  if (kubeconfig !== undefined) {
    writeFileSync(`${kubeconfig}.new`, server.kubeconfig(), { mode: 0o600 });
    renameSync(`${kubeconfig}.new`, kubeconfig);
  }
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void server.close());
  process.stdout.write(`${JSON.stringify({ ready: true, url: server.url, kubeconfig })}\n`);
}

/** "10.0.0.1:6443" or "[fd00::1]:6443". */
function parseListen(text: string | undefined): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text ?? "");
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) throw new Error(`--listen ${text ?? "(missing)"}: expected HOST:PORT\n${USAGE}`);
  return { host, port: Number(match?.[3]) };
}

/** The rights that the manifest's roles give to weftd's account, and its admission policies. */
function readRbac(path: string): Pick<ApiServerOptions, "permits" | "admit"> {
  const objects = parseAllDocuments(readFileSync(path, "utf8")).map(
    (document) => document.toJS() as RbacObject & Policy,
  );
  return { permits: permitsOf(objects, { namespace: "weft", name: "weftd" }), admit: admitBy(objects) };
}

function readTls(certificate?: string, key?: string, authority?: string): Pick<ApiServerOptions, "tls"> {
  if (certificate === undefined && key === undefined && authority === undefined) return {};
  if (certificate === undefined || key === undefined)
    throw new Error(`--tls-cert and --tls-key must be given together\n${USAGE}`);
  const tls = { certificate: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") };
  return { tls: authority === undefined ? tls : { ...tls, authority: readFileSync(authority, "utf8") } };
}

main().catch((error: unknown) => {
  process.stderr.write(`apiserver: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
