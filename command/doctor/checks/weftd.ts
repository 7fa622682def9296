/** Checks of weftd: whether it runs and is ready, and the files it writes for the executables. */

import type { Finding } from "../../../pkg/backend/inspection.ts";
import type { Held } from "../../node/run-dir.ts";
import type { Check } from "../finding.ts";

const START =
  "start weftd and see its log (as a service: systemctl status weftd; as a DaemonSet: kubectl get pods -A -o wide, on this node)";

export const weftdAlive: Check = {
  name: "weftd-alive",
  group: "weftd",
  about: "weftd runs",
  judge({ run, hasWeftd }) {
    if (run.isAlive) return [];
    if (!hasWeftd) {
      return [
        {
          severity: "note",
          seen: `weftd has never run here: ${run.path} and weftd's network configuration are missing`,
          why: "this node uses only the executables, so the checks of weftd are skipped",
          advice: "nothing, unless weftd should run here; then start it and see its log",
        },
      ];
    }
    return [
      {
        severity: "error",
        seen: `weftd is not running: no process listens on ${run.path}/weftd.sock`,
        why: "this node does not learn of new nodes, and restores rules and routes that other programs remove only when a pod starts here",
        advice: START,
      },
    ];
  },
};

export const weftdReady: Check = {
  name: "weftd-ready",
  group: "weftd",
  about: "weftd is ready and has no warnings",
  judge({ readiness }) {
    if (readiness === undefined) return [];
    if (readiness.is === "silent") {
      return [
        {
          severity: "warning",
          seen: `weftd runs but does not answer /readyz: ${readiness.reason}`,
          why: "it is unknown whether weftd is ready; it may hang",
          advice: "if weftd has another --metrics-address, pass it to weft doctor; otherwise restart weftd",
        },
      ];
    }
    return [
      ...readiness.missing.map((reason): Finding => {
        const why = "this node gets no new pods, or new pods have no connectivity";
        return { severity: "error", seen: `weftd is not ready: ${reason}`, why, advice: START };
      }),
      ...readiness.warnings.map((reason): Finding => {
        const why = "weftd is ready, but cannot repair this itself";
        return { severity: "warning", seen: `weftd warns: ${reason}`, why, advice: "fix the cause that weftd names" };
      }),
    ];
  },
};

export const nodeTable: Check = {
  name: "node-table",
  group: "weftd",
  about: "the node table for the executables exists and is of this boot",
  judge({ run, hasWeftd }) {
    if (!hasWeftd) return [];
    const files: [string, Held<{ readonly bootId: string }>][] = [
      [`${run.path}/stamp.json`, run.stamp],
      [`${run.path}/nodes.json`, run.table],
    ];
    return files.flatMap(([path, file]): Finding[] => {
      const why = 'no pod can start here: the executables return "try again later"';
      if (file.is === "absent") return [{ severity: "error", seen: `${path} is missing`, why, advice: START }];
      if (file.is === "unreadable") return [{ severity: "error", seen: `${path}: ${file.reason}`, why, advice: START }];
      if (file.value.bootId === run.bootId) return [];
      return [{ severity: "error", seen: `${path} was written before the last boot`, why, advice: START }];
    });
  },
};

export const peers: Check = {
  name: "peers",
  group: "weftd",
  about: "this node can send to each peer",
  judge({ desired }) {
    return (desired?.problems ?? []).map(({ peer, trouble, reason }) => ({
      severity: trouble === "NotAnnounced" ? "warning" : "error",
      seen: `${peer}: ${reason}`,
      why: "this node's pods cannot reach all pods of that node",
      advice: "fix the cause that the message names, on that node or in the cluster",
    }));
  },
};
