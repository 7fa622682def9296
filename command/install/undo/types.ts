/** Finds the plugins that a configuration needs. Pure. */
import type { ConfigObject } from "../../../pkg/cni/config.ts";

/** Returns the types of all plugins that run for an attachment, including plugins that other plugins call. */
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
