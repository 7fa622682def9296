/** weftd: whether it lives and serves, and what it has left for the executables. */

import type { Finding } from "../../../pkg/backend/inspection.ts";
import type { Held } from "../../node/run-dir.ts";
import type { Check } from "../finding.ts";

const START =
  "start it and read its log (a service: systemctl status weftd; a DaemonSet: kubectl get pods -A -o wide, on this node)";

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
          seen: `no weftd has run here: ${run.path} and weftd's network configuration are missing`,
          why: "this node has the executables alone; the checks that concern weftd are left out",
          advice: "nothing, unless weftd should run here: then start it and read its log",
        },
      ];
    }
    return [
      {
        severity: "error",
        seen: `no weftd holds ${run.path}/weftd.sock`,
        why: "new nodes are not heard of, and what others remove stays removed until a pod is started here",
        advice: START,
      },
    ];
  },
};

export const weftdReady: Check = {
  name: "weftd-ready",
  group: "weftd",
  about: "weftd says that this node serves, without warnings",
  judge({ readiness }) {
    if (readiness === undefined) return [];
    if (readiness.is === "silent") {
      return [
        {
          severity: "warning",
          seen: `weftd lives and does not answer /readyz: ${readiness.reason}`,
          why: "nobody can tell whether it serves; it may hang",
          advice: "restart it, or name its --metrics-address here as well",
        },
      ];
    }
    return [
      ...readiness.missing.map((reason): Finding => {
        const why = "this node gets no new pods, or they reach nobody";
        return { severity: "error", seen: `weftd is not ready: ${reason}`, why, advice: START };
      }),
      ...readiness.warnings.map((reason): Finding => {
        const why = "weftd serves and cannot mend this by itself";
        return { severity: "warning", seen: `weftd warns: ${reason}`, why, advice: "mend what it names" };
      }),
    ];
  },
};

export const nodeTable: Check = {
  name: "node-table",
  group: "weftd",
  about: "the executables find a node table of this boot",
  judge({ run, hasWeftd }) {
    if (!hasWeftd) return [];
    const files: [string, Held<{ readonly bootId: string }>][] = [
      [`${run.path}/stamp.json`, run.stamp],
      [`${run.path}/nodes.json`, run.table],
    ];
    return files.flatMap(([path, file]): Finding[] => {
      const why = 'pods cannot be started here: the executables answer "try again later"';
      if (file.is === "absent") return [{ severity: "error", seen: `${path} is missing`, why, advice: START }];
      if (file.is === "unreadable") return [{ severity: "error", seen: `${path}: ${file.reason}`, why, advice: START }];
      if (file.value.bootId === run.bootId) return [];
      return [{ severity: "error", seen: `${path} is of an earlier boot`, why, advice: START }];
    });
  },
};

export const peers: Check = {
  name: "peers",
  group: "weftd",
  about: "each other node can be sent to",
  judge({ desired }) {
    return (desired?.problems ?? []).map(({ peer, trouble, reason }) => ({
      severity: trouble === "NotAnnounced" ? "warning" : "error",
      seen: `${peer}: ${reason}`,
      why: "this node's pods do not reach all pods of that node",
      advice: "mend what it names, on that node or in the cluster",
    }));
  },
};
