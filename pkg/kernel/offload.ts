/** Whether a device leaves the checksums of what it sends to the hardware below it. */
import { ETHTOOL_MSG_FEATURES_GET, ETHTOOL_MSG_FEATURES_SET, featuresMessage } from "../netlink/ethtool.ts";
import { decode, type Message, type Query, query, type Request, request } from "../netlink/message.ts";
import { type LinkReference, linkObject } from "./link.ts";

/** The kernel's name for it (net/ethtool/common.c). */
const FEATURE = "tx-checksum-ip-generic";
const VERSION = 1;

/** `family` is the number of ethtool's family. */
export function offloadQuestion(family: number, { name, index }: LinkReference): Query {
  const header = { command: ETHTOOL_MSG_FEATURES_GET, version: VERSION };
  return query(featuresMessage(family), `ethtool -k ${name}`, header, { header: { index } });
}

/** What the answer to `offloadQuestion` says. */
export function readOffload(family: number, messages: readonly Message[]): boolean {
  return messages.some((message) => {
    const { active } = decode(featuresMessage(family), message).attributes;
    return active?.bits?.some(({ name, value }) => name === FEATURE && (active.nomask === true || value === true));
  });
}

export function setOffload(family: number, { name, index }: LinkReference, isOn: boolean): Request {
  return request(
    featuresMessage(family),
    linkObject(name),
    `ethtool -K ${name} ${FEATURE} ${isOn ? "on" : "off"}`,
    { command: ETHTOOL_MSG_FEATURES_SET, version: VERSION },
    { header: { index }, wanted: { bits: [isOn ? { name: FEATURE, value: true } : { name: FEATURE }] } },
  );
}
