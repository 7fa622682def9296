/**
 * Provides kube-proxy's endpoints: the health port, whose owner serves Services, the health check ports of Services,
 * and kube-proxy's metrics.
 */

import type { Pass, Runnable } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import { type HttpAnswer, type HttpQuestion, type HttpServer, listenText, serveHttp } from "../../core/http-server.ts";
import type { Liveness } from "../../core/liveness.ts";
import type { Logger } from "../../core/log.ts";
import type { Facts } from "../../core/topic.ts";
import type { ListenAddress } from "../../flag.ts";
import type { EventReporter } from "../../sources/events.ts";
import type { NodeView } from "../../sources/node-view.ts";
import {
  CONNTRACK_SWEEP,
  type HealthCheckedService,
  PROXY_TURN,
  SERVICES_QUEUED,
  SERVICES_SEEN,
  SERVICES_SYNC,
} from "../facts.ts";
import { healthzAnswer, livezAnswer } from "./health-answers.ts";
import { HealthCheckPorts } from "./health-check-ports.ts";
import { ProxyHealth, type Times } from "./proxy-health.ts";
import { ProxyMetrics } from "./proxy-metrics.ts";
import { Turn } from "./turn.ts";

/** How often a port of another process is retried. */
const RETRY_MS = 2000;

/** The answer of /proxyMode. Scripts and conformance tests compare the text. */
const PROXY_MODE = "nftables";

export interface ServiceHealthParts {
  readonly healthzAddress: ListenAddress | undefined;
  readonly proxyMetricsAddress: ListenAddress | undefined;
  readonly view: Pick<NodeView, "own">;
  /** True if the cluster has a Node for this host. Without one, the Node does not affect eligibility. [true] */
  readonly hasNode?: boolean;
  readonly facts: Facts;
  readonly times: Times;
  readonly health: Pick<Health, "warns">;
  readonly events: EventReporter;
  readonly log: Logger;
  /** Creates the socket that shows other programs of this node that weftd programs Services. */
  readonly showSign: () => Promise<Liveness>;
  readonly serve?: typeof serveHttp;
  readonly isTaken?: (port: number) => Promise<boolean>;
}

export class ServiceHealthController implements Runnable {
  readonly name = "service-health";
  readonly subscriptions;
  readonly #parts: ServiceHealthParts;
  readonly #proxy: ProxyHealth;
  readonly #metrics: ProxyMetrics;
  readonly #turn: Turn;
  readonly #checkPorts: HealthCheckPorts;
  readonly #unsubscribe: readonly (() => void)[];
  #metricsServer: HttpServer | undefined;
  #sign: Liveness | undefined;
  #isWaiting = false;
  #pass: Promise<void> = Promise.resolve();

  constructor(parts: ServiceHealthParts) {
    const { facts, times, serve, isTaken } = parts;
    this.#parts = parts;
    this.#proxy = new ProxyHealth(times);
    this.#metrics = new ProxyMetrics(times);
    this.#turn = new Turn({
      listen: parts.healthzAddress,
      answering: (question) => this.#answerHealth(question),
      ...(serve && { serve }),
      ...(isTaken && { isTaken }),
    });
    this.#checkPorts = new HealthCheckPorts({
      isProxyHealthy: () => this.#proxy.isHealthy,
      onFailure: (service, place, reason) => this.#cannotCheck(service, place, reason),
      ...(serve && { serve }),
    });
    this.subscriptions = { topics: [facts.of(SERVICES_SEEN)], atStart: true };
    this.#unsubscribe = this.#listen(facts);
  }

  run(pass: Pass): Promise<void> {
    this.#pass = this.#serve(pass);
    return this.#pass;
  }

  async #serve(pass: Pass): Promise<void> {
    const { facts } = this.#parts;
    const other = await this.#turn.take().finally(() => facts.of(PROXY_TURN).publish({ isOurs: this.#turn.isOurs }));
    if (other !== undefined) {
      this.#waits(other);
      return pass.later("turn", RETRY_MS);
    }
    await this.#begin();
    if (!(await this.#serveMetrics())) pass.later("metrics", RETRY_MS);
    const seen = facts.of(SERVICES_SEEN).value;
    if (seen !== undefined) await this.#checkPorts.keep(seen);
  }

  async debug() {
    const { isOurs, reason } = this.#turn;
    const { healthy } = this.#proxy.report();
    const serviceHealth = {
      ...{ isOurs, ...(reason !== undefined && { reason }), healthy, isNodeEligible: this.#isNodeEligible },
      healthCheckPorts: this.#checkPorts.places(),
    };
    return { serviceHealth };
  }

  async stop(): Promise<void> {
    for (const end of this.#unsubscribe) end();
    // Wait: servers that a running pass opens must be closed, too.
    await this.#pass.catch(() => undefined);
    await this.#checkPorts.close();
    await this.#metricsServer?.close();
    await this.#sign?.close();
    await this.#turn.close();
  }

  /** Subscribes directly, so that each sync counts, even if two end before a pass begins. */
  #listen(facts: Facts): readonly (() => void)[] {
    const hear = <T>(
      fact: { readonly value: T | undefined; subscribe: (tell: () => void) => () => void },
      tell: (value: T) => void,
    ) =>
      fact.subscribe(() => {
        if (fact.value !== undefined) tell(fact.value);
      });
    return [
      hear(facts.of(SERVICES_QUEUED), (queued) => {
        this.#proxy.queued(queued.sinceMs);
        this.#metrics.queued(queued);
      }),
      hear(facts.of(SERVICES_SYNC), (sync) => {
        if (sync.isSuccess) this.#proxy.updated(sync.families, sync.atMs);
        this.#metrics.synced(sync);
      }),
      hear(facts.of(SERVICES_SEEN), (seen) => this.#metrics.seen(seen)),
      hear(facts.of(CONNTRACK_SWEEP), (sweep) => this.#metrics.swept(sweep)),
    ];
  }

  /** Called when another process serves Services. */
  #waits(reason: string): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const message =
      `${reason}: kube-proxy, or another program in its place, serves this node. weftd programs no Services and removes ` +
      "nothing until that process ends; then it takes over. To stop kube-proxy: kubectl -n kube-system delete daemonset " +
      "kube-proxy. To keep it: start weftd with --service-proxy none, then run weft cleanup --services";
    this.#parts.log.warn({ reason }, "another process serves Services; waiting for it to end");
    this.#parts.health.warns("Services", [message]);
    this.#parts.events.report({ type: "Warning", reason: "KubeProxyRuns", message });
  }

  /** Called when weftd serves Services. */
  async #begin(): Promise<void> {
    if (this.#isWaiting) {
      this.#isWaiting = false;
      const message = "kube-proxy's health port is free; weftd programs this node's Services from now on";
      this.#parts.log.info(message);
      this.#parts.health.warns("Services", []);
      this.#parts.events.report({ type: "Normal", reason: "ServicesTakenOver", message });
    }
    this.#sign ??= await this.#parts.showSign();
  }

  /** False if another process uses the port. The metrics are served as soon as it is free. */
  async #serveMetrics(): Promise<boolean> {
    const { proxyMetricsAddress: listen, serve = serveHttp, health } = this.#parts;
    if (listen === undefined || this.#metricsServer !== undefined) return true;
    try {
      this.#metricsServer = await serve(listen, (question) => this.#answerMetrics(question));
      health.warns("proxy metrics", []);
      return true;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const reason = `kube-proxy's metrics cannot be served at ${listenText(listen)}: ${message}`;
      health.warns("proxy metrics", [`${reason}; choose another --proxy-metrics-bind-address`]);
      if (code === "EADDRINUSE") return false;
      throw new Error(`${reason}; choose another --proxy-metrics-bind-address`, { cause: error });
    }
  }

  #answerHealth({ path }: HttpQuestion): HttpAnswer {
    if (path !== "/healthz" && path !== "/livez")
      return { status: 404, body: "not found; available: /healthz and /livez\n" };
    const report = this.#proxy.report();
    const answer = path === "/livez" ? livezAnswer(report) : healthzAnswer(report, this.#isNodeEligible);
    this.#metrics.answered(path, answer.status);
    return answer;
  }

  get #isNodeEligible(): boolean {
    const { view, hasNode = true } = this.#parts;
    return view.own === undefined ? !hasNode : view.own.isLeaving !== true;
  }

  async #answerMetrics({ path }: HttpQuestion): Promise<HttpAnswer> {
    switch (path) {
      case "/metrics":
        return { status: 200, contentType: this.#metrics.contentType, body: await this.#metrics.text() };
      case "/proxyMode":
        return { status: 200, body: PROXY_MODE };
      case "/healthz":
        return { status: 200, body: "ok" };
      default:
        return { status: 404, body: "not found; available: /metrics, /proxyMode and /healthz\n" };
    }
  }

  #cannotCheck({ service, port }: HealthCheckedService, place: string, reason: string): void {
    const message =
      `Service ${service}: its health check port ${port} cannot be served at ${place} (${reason}), so load balancers send no ` +
      "connections to this node; free the port, or give the Service another healthCheckNodePort";
    this.#parts.log.warn({ service, port, reason }, "cannot serve health check port");
    this.#parts.events.report({ type: "Warning", reason: "FailedToStartServiceHealthcheck", message });
  }
}
