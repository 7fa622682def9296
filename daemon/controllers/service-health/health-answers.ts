/**
 * The answers in kube-proxy's place: /healthz and /livez of the proxy, and those at a Service's health check port for
 * load balancers. Bodies and headers equal kube-proxy's (pkg/proxy/healthcheck, 1.36).
 */
import type { HttpAnswer } from "../../core/http-server.ts";
import type { HealthCheckedService } from "../facts.ts";
import type { HealthReport } from "./proxy-health.ts";

const OK = 200;
const UNAVAILABLE = 503;

/** Status 200 if load balancers may send traffic to the node: its rules are up to date, and it is not being removed. */
export function healthzAnswer(report: HealthReport, isNodeEligible: boolean): HttpAnswer {
  const { lastUpdated, currentTime, healthy, status } = report;
  const body = { lastUpdated, currentTime, nodeEligible: isNodeEligible, healthy, status };
  return json(healthy && isNodeEligible ? OK : UNAVAILABLE, JSON.stringify(body));
}

/** Status 200 if the rules are up to date. If they are not, a restart may help. */
export function livezAnswer(report: HealthReport): HttpAnswer {
  return json(report.healthy ? OK : UNAVAILABLE, JSON.stringify(report));
}

/** The answer for any path. The number of local endpoints is a weight for load balancers that support it. */
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
