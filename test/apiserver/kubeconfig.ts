/** A kubeconfig for the test API server. Written as JSON, which is also YAML and needs no quoting rules. */

export interface KubeconfigOptions {
  readonly url: string;
  readonly token?: string | undefined;
  /** PEM of the authority that signed the server's certificate. */
  readonly authority?: string | undefined;
}

export function formatKubeconfig({ url, token, authority }: KubeconfigOptions): string {
  const trust =
    authority === undefined
      ? // Clients refuse plain HTTP unless verification is switched off.
        { "insecure-skip-tls-verify": true }
      : { "certificate-authority-data": Buffer.from(authority).toString("base64") };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "standin", cluster: { server: url, ...trust } }],
    users: [{ name: "weftd", user: token === undefined ? {} : { token } }],
    contexts: [{ name: "standin", context: { cluster: "standin", user: "weftd" } }],
    "current-context": "standin",
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
