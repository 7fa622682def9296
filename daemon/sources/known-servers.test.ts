import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { formatApiEndpoint } from "../../pkg/cluster/known-servers.ts";
import { connectKubernetes } from "../../pkg/cluster/kubeconfig.ts";
import { ENDPOINT_SLICE_PARSER, type EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import { startApiServer } from "../../test/apiserver/server.ts";
import { openLog } from "../core/log.ts";
import { KnownServers } from "./known-servers.ts";
import { ServerLookup } from "./server-lookup.ts";

const log = openLog("fatal", "n1");
const cleanups: (() => void | Promise<void>)[] = [];
let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-known-"));
  cleanups.push(() => rmSync(folder, { recursive: true }));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const object = (...addresses: string[]) => ({
  metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
  addressType: "IPv4",
  ports: [{ name: "https", port: 6443, protocol: "TCP" }],
  endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
});
const slices = (...addresses: string[]) => [ENDPOINT_SLICE_PARSER.parse(object(...addresses)) as EndpointSlice];
const texts = ({ endpoints }: KnownServers) => endpoints.map(formatApiEndpoint);
const file = () => join(folder, "apiserver.json");

test("the next weftd reads what one has learned, and only root may read the file", async () => {
  const first = await KnownServers.open(folder, log);
  expect(texts(first)).toEqual([]);
  await first.learn(slices("192.0.2.1", "192.0.2.2"));
  expect(texts(first)).toEqual(["192.0.2.1:6443", "192.0.2.2:6443"]);
  expect(statSync(file()).mode & 0o777).toBe(0o600);
  expect(texts(await KnownServers.open(folder, log))).toEqual(["192.0.2.1:6443", "192.0.2.2:6443"]);
});

test("an equal list is not written again, and an empty list is ignored", async () => {
  const known = await KnownServers.open(folder, log);
  await known.learn(slices("192.0.2.1"));
  const { ino } = statSync(file());
  await known.learn(slices("192.0.2.1"));
  await known.learn([]);
  await known.learn(slices());
  expect(statSync(file()).ino).toBe(ino);
  expect(texts(known)).toEqual(["192.0.2.1:6443"]);
});

test("an invalid file counts as missing and is replaced", async () => {
  writeFileSync(file(), "{");
  const known = await KnownServers.open(folder, log);
  expect(texts(known)).toEqual([]);
  await known.learn(slices("192.0.2.1"));
  expect(JSON.parse(readFileSync(file(), "utf8"))).toEqual({ version: 1, endpoints: ["192.0.2.1:6443"] });
});

test("if the file cannot be written, the servers are known until the process ends", async () => {
  writeFileSync(join(folder, "file"), "");
  const known = await KnownServers.open(join(folder, "file", "below"), log);
  await known.learn(slices("192.0.2.1"));
  expect(texts(known)).toEqual(["192.0.2.1:6443"]);
  const made = await KnownServers.open(join(folder, "made"), log);
  await made.learn(slices("192.0.2.1"));
  expect(texts(await KnownServers.open(join(folder, "made"), log))).toEqual(["192.0.2.1:6443"]);
});

test("the lookup reads the EndpointSlice by name", async () => {
  const server = await startApiServer();
  cleanups.push(() => server.close());
  const target = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  server.ask({ method: "POST", target, body: object("192.0.2.1") as never });
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(kubeconfig, server.kubeconfig());
  const connection = connectKubernetes({ kubeconfig });
  cleanups.push(() => connection.close());
  const known = await KnownServers.open(folder, log);
  const learned = new Promise<void>((resolve) => {
    const learn = async (read: readonly EndpointSlice[]) => {
      await known.learn(read);
      resolve();
    };
    const lookup = new ServerLookup({ connection, known: { learn }, clock: SYSTEM_CLOCK, log });
    cleanups.push(() => lookup.stop());
    lookup.start();
  });
  await learned;
  expect(texts(await KnownServers.open(folder, log))).toEqual(["192.0.2.1:6443"]);
  expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([`GET ${target}/kubernetes`]);
});
