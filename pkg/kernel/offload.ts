/** Whether a device offloads the checksums of sent packets to the hardware below it. */
import { ETHTOOL_MSG_FEATURES_GET, ETHTOOL_MSG_FEATURES_SET, featuresMessage } from "../netlink/ethtool.ts";
import { decode, type Message, type Query, query, type Request, request } from "../netlink/message.ts";
import { type LinkReference, linkObject } from "./link.ts";

/** The kernel's name of the feature (net/ethtool/common.c). */
const FEATURE = "tx-checksum-ip-generic";
const VERSION = 1;

/** Requests a device's features; `family` is the id of ethtool's generic netlink family. */
export function offloadQuestion(family: number, { name, index }: LinkReference): Query {
  const header = { command: ETHTOOL_MSG_FEATURES_GET, version: VERSION };
  return query(featuresMessage(family), `ethtool -k ${name}`, header, { header: { index } });
}

/** Parses the answer to `offloadQuestion`: true if the offload is on. */
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
