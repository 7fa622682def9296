/**
 * Reads kube-proxy's configuration: a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1), or the ConfigMap that
 * contains one, in YAML or JSON. Pure.
 */
import { isMap, parseAllDocuments } from "yaml";

export class KubeProxyConfigurationError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "KubeProxyConfigurationError";
  }
}

export type Settings = Readonly<Record<string, unknown>>;

const GROUP = "kubeproxy.config.k8s.io";
const KIND = "KubeProxyConfiguration";

/** Returns the settings of the first KubeProxyConfiguration in `text`. Throws `KubeProxyConfigurationError`. */
export function readConfiguration(text: string): Settings {
  const objects = objectsIn(text, "the file");
  const found = objects.find(isConfiguration) ?? objects.flatMap(inConfigMap).find(isConfiguration);
  if (found === undefined)
    throw new KubeProxyConfigurationError(
      `expected a ${KIND}, or the ConfigMap that contains one (kubectl -n kube-system get configmap kube-proxy -o yaml)`,
    );
  return found;
}

function objectsIn(text: string, what: string): Settings[] {
  return [...parseAllDocuments(text, { prettyErrors: true })].flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw new KubeProxyConfigurationError(`${what}: ${error.message}`);
    return isMap(document.contents) ? [document.toJS() as Settings] : [];
  });
}

function isConfiguration({ apiVersion, kind }: Settings): boolean {
  return kind === KIND && String(apiVersion).startsWith(`${GROUP}/`);
}

/** Returns the configurations in a ConfigMap. kubeadm's key is config.conf; other installers use other keys. */
function inConfigMap({ kind, data }: Settings): Settings[] {
  if (kind !== "ConfigMap" || typeof data !== "object" || data === null) return [];
  return Object.entries(data).flatMap(([key, value]) =>
    typeof value === "string" && value.includes(KIND) ? objectsIn(value, `data.${key}`) : [],
  );
}

/**
 * Returns the paths, such as "conntrack.maxPerCore", of all settings with a value. Nulls, empty texts, lists and maps
 * do not count as values.
 */
export function statedPaths(settings: Settings, at = ""): string[] {
  return Object.entries(settings).flatMap(([key, value]) => {
    const path = at === "" ? key : `${at}.${key}`;
    if (value === null || value === undefined || value === "") return [];
    if (Array.isArray(value)) return value.length === 0 ? [] : [path];
    return typeof value === "object" ? statedPaths(value as Settings, path) : [path];
  });
}

/** Returns the value at a path such as "conntrack.maxPerCore"; undefined if there is none. */
export function settingAt(settings: Settings, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (value, key) => (typeof value === "object" && value !== null ? (value as Settings)[key] : undefined),
      settings,
    );
}
