/**
 * What is answered in kube-proxy's place: /healthz and /livez of the proxy as a whole, and what a load balancer asks at a
 * Service's health check port. Bodies and headers are kube-proxy's (pkg/proxy/healthcheck, 1.36).
 */
import type { HttpAnswer } from "../../core/http-server.ts";
import type { HealthCheckedService } from "../facts.ts";
import type { HealthReport } from "./proxy-health.ts";

const OK = 200;
const UNAVAILABLE = 503;

/** The node is to get traffic from load balancers: the kernel is up to date, and the node stays. */
export function healthzAnswer(report: HealthReport, isNodeEligible: boolean): HttpAnswer {
  const { lastUpdated, currentTime, healthy, status } = report;
  const body = { lastUpdated, currentTime, nodeEligible: isNodeEligible, healthy, status };
  return json(healthy && isNodeEligible ? OK : UNAVAILABLE, JSON.stringify(body));
}

/** The kernel is up to date: where not, a restart may help. */
export function livezAnswer(report: HealthReport): HttpAnswer {
  return json(report.healthy ? OK : UNAVAILABLE, JSON.stringify(report));
}

/** Of any path. The number of local endpoints is a weight for load balancers that know it. */
export function serviceAnswer(service: HealthCheckedService, isProxyHealthy: boolean): HttpAnswer {
  const { localEndpoints } = service;
  const [namespace = "", name = ""] = service.service.split("/");
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: isProxyHealthy };
  return json(localEndpoints > 0 && isProxyHealthy ? OK : UNAVAILABLE, JSON.stringify(body, undefined, "\t"), {
    "X-Load-Balancing-Endpoint-Weight": String(localEndpoints),
  });
}

function json(status: number, body: string, headers: HttpAnswer["headers"] = {}): HttpAnswer {
  return {
    ...{ status, body },
    contentType: "application/json",
    headers: { "X-Content-Type-Options": "nosniff", ...headers },
  };
}
