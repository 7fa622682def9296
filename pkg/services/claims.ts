/**
 * Who has which address, protocol and port. Several Services may ask for the same one, by accident or to take over its
 * traffic (CVE-2020-8554). One has it: a ClusterIP before a NodePort, a load balancer's address and an externalIP, then the
 * older Service, then the first by name. All others lose this frontend alone.
 */
import { type Frontend, frontendKey } from "./frontend.ts";
import { rank } from "./service-frontends.ts";

/** A frontend that another Service has. */
export interface LostClaim {
  readonly frontend: Frontend;
  /** The Service that has it, and as what. */
  readonly winner: Pick<Frontend, "service" | "kind">;
}

export class Claims {
  readonly #createdOf: (service: string) => string;
  /** The strongest first. */
  readonly #claims = new Map<string, Frontend[]>();
  readonly #contested = new Set<string>();
  /** Until a contested key changes. */
  #lost: readonly LostClaim[] | undefined;

  /**
   * `createdOf` tells when a Service was created, as text that compares. Where that changes, the claims of the Service
   * must be removed and added again.
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

  /** How many frontends have a Service. */
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

  /** Does nothing where the Service has no claim of that key. */
  remove(key: string, service: string): void {
    const left = this.#claims.get(key)?.filter((claim) => claim.service !== service);
    if (left === undefined || left.length === 0) this.#claims.delete(key);
    else this.#claims.set(key, left);
    if (this.#contested.has(key)) this.#lost = undefined;
    if (left === undefined || left.length < 2) this.#contested.delete(key);
  }

  /** The same list as long as nothing of it changes: only then it costs as much as there are such frontends. */
  lost(): readonly LostClaim[] {
    this.#lost ??= [...this.#contested].flatMap((key) => {
      const [winner, ...losers] = this.#claims.get(key) ?? [];
      return winner === undefined ? [] : losers.map((frontend) => ({ frontend, winner }));
    });
    return this.#lost;
  }

  /** Of `frontends`, all of one Service, those that others have. */
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
