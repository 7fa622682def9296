import { expect, test } from "vitest";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { readStated } from "./conflist.ts";

const FOLDER = "/etc/cni/net.d";
const WEFT = {
  name: "cbr0",
  plugins: [
    { type: "bridge", bridge: "br7", ipam: { type: "host-local", dataDir: "/data" } },
    { type: "portmap" },
    { type: "vxlan", runDir: "/run/other" },
  ],
};
const FLANNEL = { name: "cbr0", plugins: [{ type: "flannel", delegate: { hairpinMode: true } }] };

function stated(contents: Readonly<Record<string, unknown>>) {
  const files = new FakeFiles();
  files.makeDirectory(FOLDER);
  for (const [name, content] of Object.entries(contents))
    files.writeFile(`${FOLDER}/${name}`, new TextEncoder().encode(JSON.stringify(content)));
  return readStated(new FakeSystem({ files }), FOLDER);
}

test.each(["05-weft.conflist", ".05-weft.conflist.removed"])("reads the places of weft's objects from %s", (name) => {
  expect(stated({ [name]: WEFT })).toEqual({ bridge: "br7", runDirs: ["/run/other"], dataDirs: ["/data"], others: [] });
});

test("finds the bridges of other networks' files, without weft's own", () => {
  const others = { "10-flannel.conflist": FLANNEL, "20-b.conf": { name: "b", type: "bridge", bridge: "br9" } };
  expect(stated({ ...others, "05-weft.conflist": WEFT, "30-x.conflist.weft-disabled": FLANNEL })).toMatchObject({
    bridge: "br7",
    others: [
      { file: "10-flannel.conflist", bridge: "cni0" },
      { file: "20-b.conf", bridge: "br9" },
    ],
  });
});

test("ignores invalid values in a conflist", () => {
  const plugins = [
    { type: "ptp", ipam: "none" },
    { type: "vxlan", runDir: "run/weft" },
  ];
  const nothing = { bridge: undefined, runDirs: [], dataDirs: [], others: [] };
  expect(stated({ "05-weft.conflist": { name: "cbr0", plugins } })).toEqual(nothing);
  expect(stated({ "05-weft.conflist": "text" })).toEqual(nothing);
});
