/**
 * `dummy`: gives a container an interface that leads nowhere, for its addresses alone. Takes the reference plugin's
 * configuration.
 */
import { interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import { removeLink } from "../../pkg/attachment/links.ts";
import { createSingleLink } from "../../pkg/kernel/single-link.ts";

export const plugin = interfacePlugin<undefined>({
  name: "dummy",
  about: "gives a container an interface that leads nowhere, for its addresses",
  needsAddresses: true,
  parse: () => undefined,
  make({ request: { ifName }, sides, undo }) {
    sides.pod.run(createSingleLink({ name: ifName, device: { kind: "dummy" } }));
    undo.push(() => removeLink(sides.pod, ifName));
  },
  expected: () => ({ kind: "dummy" }),
});
