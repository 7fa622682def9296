/** NodePorts when the node's addresses change, and the output for operators. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { addAddress } from "../../../pkg/kernel/address.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import { serviceObject } from "../../sources/fake-service-source.ts";
import { LOOPBACK_GUARDED } from "../facts.ts";
import { bench } from "./services-bench.ts";

describe("NodePorts", () => {
  const nodePort = (...extra: object[]) =>
    serviceObject("web", "10.96.0.1", {
      ...{ type: "NodePort", ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: 30080 }] },
      ...Object.assign({}, ...extra),
    });
  const notification: Message = {
    ...{ type: addAddress({ index: 1, prefix: parseSubnet("192.0.2.0/24") }).type, flags: 0, sequence: 0, portId: 0 },
    payload: new Uint8Array(),
  };

  test("follow changes of the node's addresses", async () => {
    const { source, local, notify, start, settle, taken } = bench("--nodeport-addresses", "192.0.2.0/24");
    await start();
    source.services.put(nodePort());
    await settle();
    expect(taken().join()).toContain("192.0.2.1:30080>10.244.1.2");
    local.addresses = ["192.0.2.7"].map(parseAddress);
    notify(notification);
    await settle(20);
    expect(taken()).toEqual(["change: -192.0.2.1:30080 192.0.2.7:30080>10.244.1.2"]);
  });

  test("are served on 127.0.0.1 once it is guarded", async () => {
    const { facts, source, start, settle, taken } = bench("--nodeport-addresses", "localhost");
    facts.of(LOOPBACK_GUARDED).publish(false);
    await start();
    source.services.put(nodePort());
    await settle();
    expect(taken().join()).not.toContain("127.0.0.1");
    facts.of(LOOPBACK_GUARDED).publish(true);
    await settle();
    expect(taken()).toEqual(["change: 127.0.0.1:30080>10.244.1.2"]);
  });

  test("the API server's own address does not become a frontend", async () => {
    const { source, start, settle, taken } = bench();
    await start();
    source.services.put(
      serviceObject("thief", "10.96.0.9", {
        externalIPs: ["192.0.2.250", "192.0.2.251"],
        ports: [{ name: "https", protocol: "TCP", port: 6443 }],
      }),
    );
    await settle();
    expect(taken()).toEqual(["change: 10.96.0.9:6443> 192.0.2.251:6443>"]);
  });
});

test("/debug/services shows all Services, or one by its name", async () => {
  const { controller, start } = bench();
  await start();
  const shown = (query: string) =>
    JSON.parse([...(controller.pages.services?.(new URLSearchParams(query)) ?? [])].join(""));
  expect(shown("service=default/web")).toMatchObject({
    state: {
      mode: "nftables",
      isOurs: true,
      isSynced: true,
      doubts: [],
      counts: { services: 1, frontends: 1, endpoints: 1 },
    },
    node: { name: "n1", zone: "a", nodePortAddresses: ["192.0.2.1"], externalIPs: "all", localPods: ["10.244.1.0/24"] },
    services: [
      {
        service: "default/web",
        type: "ClusterIP",
        frontends: [
          {
            ...{
              kind: "ClusterIP",
              address: "10.96.0.1",
              protocol: "TCP",
              port: 80,
              portName: "http",
              policy: "internal",
            },
            endpoints: ["10.244.1.2:8080"],
          },
        ],
        endpoints: [{ target: "10.244.1.2:8080", protocol: "TCP", isUsed: true, verdict: "used" }],
      },
    ],
  });
  expect(shown("namespace=other")).toMatchObject({ services: [] });
});

test("/debug/services yields many Services in pieces, and shows each of them", async () => {
  const { controller, source, start, settle } = bench();
  await start();
  const names = Array.from({ length: 250 }, (_, at) => `s${1000 + at}`);
  for (const [at, name] of names.entries()) source.services.put(serviceObject(name, `10.96.1.${at}`));
  await settle();
  const pieces = [...(controller.pages.services?.(new URLSearchParams()) ?? [])];
  expect(pieces).toHaveLength(5);
  const { services } = JSON.parse(pieces.join("")) as { services: { service: string }[] };
  expect(services.map(({ service }) => service)).toEqual([...names.map((name) => `default/${name}`), "default/web"]);
});

test("metrics have the numbers of served objects and the durations", async () => {
  const { metrics, start } = bench();
  await start();
  const text = await metrics.text();
  expect(text).toContain("weft_services 1");
  expect(text).toContain('weft_service_frontends{kind="ClusterIP"} 1');
  expect(text).toContain('weft_service_sync_duration_seconds_count{kind="full",result="success"} 1');
  expect(text).toContain("weft_service_transactions_total 1");
  expect(text).toContain("weft_service_requests_total 2");
});

test("reports Services that claim addresses of other Services", async () => {
  const { source, start, settle, lostClaims } = bench();
  await start();
  source.services.put(serviceObject("zebra", "10.96.0.1"));
  await settle();
  expect(lostClaims.at(-1)).toBe(1);
});
