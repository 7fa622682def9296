/** Which plugins a configuration needs. Pure. */
import type { ConfigObject } from "../../../pkg/cni/config.ts";

/** The types of all plugins that the runtime calls for an attachment, those that plugins call in turn included. */
export function typesOf(plugins: readonly ConfigObject[]): string[] {
  return plugins.flatMap((plugin) => [
    ...typeIn(plugin),
    ...["ipam", "delegate"].flatMap((key) => (isObject(plugin.value(key)) ? typesOf([plugin.object(key)]) : [])),
    ...(plugin.value("type") === "flannel" && !delegateHasType(plugin) ? ["bridge"] : []),
    ...(plugin.value("type") === "flannel" ? ["host-local"] : []),
  ]);
}

function typeIn(object: ConfigObject): string[] {
  const type = object.value("type");
  return typeof type === "string" && type !== "" ? [type] : [];
}

function delegateHasType(plugin: ConfigObject): boolean {
  const delegate = plugin.value("delegate");
  return isObject(delegate) && typeIn(plugin.object("delegate")).length > 0;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
