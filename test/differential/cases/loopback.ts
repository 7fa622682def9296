import { HANDED_BACK, type Table, VERSIONS } from "../table.ts";

export const table: Table = {
  plugin: "loopback",
  cases: [
    {
      name: "added by weft, checked and deleted by the reference",
      conf: {},
      ifName: "lo",
      setup: [{ in: "pod", run: "ip link set lo down" }],
      steps: HANDED_BACK,
    },
    {
      name: "plain",
      conf: {},
      ifName: "lo",
      versions: VERSIONS,
      setup: [{ in: "pod", run: "ip link set lo down" }],
    },
    {
      name: "after another plugin, whose result it passes on",
      conf: {
        prevResult: {
          cniVersion: "1.1.0",
          interfaces: [{ name: "eth0", mac: "0a:00:00:00:00:01", sandbox: "$POD" }],
          ips: [{ address: "10.22.0.2/24", interface: 0 }],
        },
      },
      ifName: "lo",
      setup: [{ in: "pod", run: "ip link set lo down" }],
    },
  ],
};
