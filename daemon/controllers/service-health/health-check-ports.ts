/**
 * Runs servers at Services' health check ports (`spec.healthCheckNodePort`), one for each address at which NodePorts
 * are served. As in kube-proxy, a port in use causes one Event, and is retried only when the Service has another port.
 */
import { formatAddress } from "../../../pkg/ip/address.ts";
import { type HttpServer, listenText, serveHttp } from "../../core/http-server.ts";
import type { HealthCheckedService, ServicesSeen } from "../facts.ts";
import { serviceAnswer } from "./health-answers.ts";

export interface HealthCheckPortsOptions {
  readonly isProxyHealthy: () => boolean;
  /** Called if a port cannot be served at `place`, such as "10.0.0.1:30206". */
  readonly onFailure: (service: HealthCheckedService, place: string, reason: string) => void;
  readonly serve?: typeof serveHttp;
}

type Wanted = Pick<ServicesSeen, "healthChecks" | "nodePortAddresses">;

interface Served {
  /** Equal for the same port at the same addresses. */
  readonly place: string;
  readonly servers: readonly HttpServer[];
  service: HealthCheckedService;
}

export class HealthCheckPorts {
  readonly #options: HealthCheckPortsOptions;
  readonly #served = new Map<string, Served>();
  #kept: Wanted | undefined;

  constructor(options: HealthCheckPortsOptions) {
    this.#options = options;
  }

  /** Serves exactly these ports. An unchanged list costs nothing. Calls must not overlap. */
  async keep(wanted: Wanted): Promise<void> {
    const { healthChecks, nodePortAddresses } = wanted;
    if (this.#kept?.healthChecks === healthChecks && this.#kept.nodePortAddresses === nodePortAddresses) return;
    await this.#keep(wanted);
    this.#kept = wanted;
  }

  async #keep({ healthChecks, nodePortAddresses }: Wanted): Promise<void> {
    const hosts = nodePortAddresses === undefined ? [undefined] : nodePortAddresses.map(formatAddress);
    const wanted = new Map(healthChecks.map((service) => [service.service, service]));
    const placeOf = ({ port }: HealthCheckedService) => hosts.map((host) => listenText({ host, port })).join(", ");
    // End these first: one may use the port that another Service has now.
    for (const [name, served] of [...this.#served]) {
      const service = wanted.get(name);
      if (service !== undefined && placeOf(service) === served.place) served.service = service;
      else await this.#end(name);
    }
    for (const service of wanted.values())
      if (!this.#served.has(service.service)) await this.#start(service, hosts, placeOf(service));
  }

  /** Returns the addresses at which each Service's port is served; empty if it cannot be served. */
  places(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#served].map(([name, { place, servers }]) => [name, servers.length > 0 ? place : ""]),
    );
  }

  async close(): Promise<void> {
    for (const name of [...this.#served.keys()]) await this.#end(name);
  }

  async #start(service: HealthCheckedService, hosts: readonly (string | undefined)[], place: string): Promise<void> {
    const { serve = serveHttp, isProxyHealthy, onFailure } = this.#options;
    const answer = () => serviceAnswer(this.#served.get(service.service)?.service ?? service, isProxyHealthy());
    const servers: HttpServer[] = [];
    try {
      for (const host of hosts) servers.push(await serve({ host, port: service.port }, answer));
    } catch (error) {
      for (const server of servers.splice(0)) await server.close();
      onFailure(service, place, error instanceof Error ? error.message : String(error));
    }
    this.#served.set(service.service, { place, servers, service });
  }

  async #end(name: string): Promise<void> {
    const served = this.#served.get(name);
    this.#served.delete(name);
    for (const server of served?.servers ?? []) await server.close();
  }
}
