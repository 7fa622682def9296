import { expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import type { LostClaim } from "../../../pkg/services/claims.ts";
import { openLog } from "../../core/log.ts";
import { ConflictReport } from "./conflict-report.ts";

function lost(port: number): LostClaim {
  return {
    frontend: {
      ...{ kind: "ExternalIP", address: parseAddress("203.0.113.7"), protocol: 6, port },
      ...{ service: "evil/web", portName: "", policy: "cluster", endpoints: [], localEndpoints: [] },
      ...{ withoutEndpoint: undefined, allowedSources: undefined, affinity: undefined },
    },
    winner: { service: "shop/web", kind: "LoadBalancerIP" },
  };
}

function bench() {
  const said: string[] = [];
  let warnings: readonly string[] = [];
  const report = new ConflictReport({
    events: { report: ({ reason, message }) => said.push(`${reason}: ${message}`) },
    health: {
      warns: (_topic, reasons) => {
        warnings = reasons;
      },
    },
    log: openLog("fatal", "n1"),
  });
  return { report, said, warnings: () => warnings };
}

const TEXT =
  "Service evil/web claims 203.0.113.7 port 443/TCP as its ExternalIP, which Service shop/web has as its LoadBalancerIP: " +
  "connections go to shop/web; change one of the two";

test("reports a Service that loses an address once, with the Service that has it", () => {
  const { report, said, warnings } = bench();
  report.report([]);
  report.report([lost(443)]);
  report.report([lost(443), lost(443)]);
  expect(said).toEqual([`ServiceConflict: ${TEXT}`]);
  expect(warnings()).toEqual([TEXT]);
  report.report([]);
  expect(warnings()).toEqual([]);
  report.report([lost(443)]);
  expect(said).toHaveLength(2);
});

test("a Service that claims everything causes few Events", () => {
  const { report, said, warnings } = bench();
  report.report([...Array(100).keys()].map((port) => lost(1000 + port)));
  expect(said).toHaveLength(5);
  expect(warnings()).toHaveLength(100);
});
