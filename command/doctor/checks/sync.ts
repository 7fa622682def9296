/** The findings that the groups of Services and of policies share: whether weftd keeps their rules up to date. */
import type { Finding } from "../../../pkg/backend/inspection.ts";

/** weftd's report about one kind of rules. */
interface SyncReport {
  readonly isSynced: boolean;
  readonly warnings: readonly string[];
  readonly lastSync?: { readonly error?: string };
}

interface SyncWords {
  /** "Services" or "policies". */
  readonly subject: string;
  /** The effect of a failure. */
  readonly why: string;
  /** A report from before the lists are complete. */
  readonly waiting: Omit<Finding, "severity">;
}

/** Returns weftd's warnings, and `isComplete` if weftd has programmed the lists without an error. */
export function syncFindings(
  { isSynced, warnings, lastSync }: SyncReport,
  { subject, why, waiting }: SyncWords,
): { readonly findings: readonly Finding[]; readonly isComplete: boolean } {
  const reported = warnings.map((warning): Finding => {
    return {
      severity: "warning",
      seen: `weftd warns about ${subject}: ${warning}`,
      why,
      advice: "fix the cause that weftd names",
    };
  });
  if (lastSync?.error !== undefined) {
    const seen = `weftd failed to program ${subject}: ${lastSync.error}`;
    return { findings: [{ severity: "error", seen, why, advice: "see weftd's log" }, ...reported], isComplete: false };
  }
  if (!isSynced) return { findings: [{ severity: "warning", ...waiting }, ...reported], isComplete: false };
  return { findings: reported, isComplete: true };
}
