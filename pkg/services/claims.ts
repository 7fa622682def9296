/**
 * Assigns each address, protocol and port to one Service. Several Services may claim the same one, by mistake or to
 * take over its traffic (CVE-2020-8554). A ClusterIP wins over a NodePort, a NodePort over a load balancer's address,
 * and that over an externalIP; then the older Service wins, then the first by name. The other Services lose only this
 * frontend.
 */
import { type Frontend, frontendKey } from "./frontend.ts";
import { rank } from "./service-frontends.ts";

/** A frontend that a Service claims and another Service has. */
export interface LostClaim {
  readonly frontend: Frontend;
  /** The Service that has it, and the kind of frontend there. */
  readonly winner: Pick<Frontend, "service" | "kind">;
}

export class Claims {
  readonly #createdOf: (service: string) => string;
  /** The strongest claim first. */
  readonly #claims = new Map<string, Frontend[]>();
  readonly #contested = new Set<string>();
  /** Cached until the claims of a contested key change. */
  #lost: readonly LostClaim[] | undefined;

  /**
   * `createdOf` returns the creation time of a Service as comparable text. If it changes, the caller must remove the
   * Service's claims and add them again.
   */
  constructor(createdOf: (service: string) => string) {
    this.#createdOf = createdOf;
  }

  winner(key: string): Frontend | undefined {
    return this.#claims.get(key)?.[0];
  }

  *winners(): Iterable<Frontend> {
    for (const [winner] of this.#claims.values()) if (winner !== undefined) yield winner;
  }

  /** The number of frontends that a Service has. */
  get size(): number {
    return this.#claims.size;
  }

  add(key: string, frontend: Frontend): void {
    const claims = this.#claims.get(key);
    if (claims === undefined) {
      this.#claims.set(key, [frontend]);
      return;
    }
    claims.push(frontend);
    claims.sort((a, b) => this.#compare(a, b));
    this.#contested.add(key);
    this.#lost = undefined;
  }

  /** Does nothing if the Service has no claim to the key. */
  remove(key: string, service: string): void {
    const left = this.#claims.get(key)?.filter((claim) => claim.service !== service);
    if (left === undefined || left.length === 0) this.#claims.delete(key);
    else this.#claims.set(key, left);
    if (this.#contested.has(key)) this.#lost = undefined;
    if (left === undefined || left.length < 2) this.#contested.delete(key);
  }

  /**
   * All lost claims. Returns the same list while nothing in it changes; computing a new one takes time linear in its
   * length.
   */
  lost(): readonly LostClaim[] {
    this.#lost ??= [...this.#contested].flatMap((key) => {
      const [winner, ...losers] = this.#claims.get(key) ?? [];
      return winner === undefined ? [] : losers.map((frontend) => ({ frontend, winner }));
    });
    return this.#lost;
  }

  /** The claims among `frontends`, all of one Service, that other Services have won. */
  lostOf(frontends: readonly Frontend[]): LostClaim[] {
    return frontends.flatMap((frontend) => {
      const winner = this.winner(frontendKey(frontend));
      return winner === undefined || winner.service === frontend.service ? [] : [{ frontend, winner }];
    });
  }

  #compare(a: Frontend, b: Frontend): number {
    const byAge = compareTexts(this.#createdOf(a.service), this.#createdOf(b.service));
    return rank(a.kind) - rank(b.kind) || byAge || compareTexts(a.service, b.service);
  }
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
