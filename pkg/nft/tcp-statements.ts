/** Statements about packets in the middle of TCP connections. */
import { NFT_CMP, NFT_CT, NFT_REG, NFT_REJECT_TCP_RESET } from "../netlink/nftables.ts";
import { hexadecimal, hostOrder, type Statement } from "./expressions.ts";
import { tcpFlags } from "./selector.ts";

/** Values of NFT_CT_STATE: NF_CT_STATE_BIT(IP_CT_NEW), and a packet that connection tracking does not accept. */
const STATE = { invalid: 1, new: 1 << 3 } as const;

/** Matches packets without an entry of connection tracking before them, and those that get none. */
export const matchNewOrInvalid: Statement = {
  text: "ct state invalid,new",
  expressions: [
    { kind: "ct", data: { dreg: NFT_REG.r1, key: NFT_CT.state } },
    maskR1(hostOrder(STATE.invalid | STATE.new)),
    compareR1(NFT_CMP.neq, hostOrder(0)),
  ],
};

/** Matches TCP packets that have none of these flags (the bits of octet 13 of the header, RFC 9293 section 3.1). */
export function matchTcpWithout(flags: number): Statement {
  return {
    text: `tcp flags & ${hexadecimal(flags)} == 0`,
    expressions: [tcpFlags.load(NFT_REG.r1), maskR1(Uint8Array.of(flags)), compareR1(NFT_CMP.eq, Uint8Array.of(0))],
  };
}

/** Rejects a TCP packet with a reset to its sender. */
export const resetTcp: Statement = {
  text: "reject with tcp reset",
  expressions: [{ kind: "reject", data: { type: NFT_REJECT_TCP_RESET, code: 0 } }],
};

function maskR1(mask: Uint8Array): Statement["expressions"][number] {
  return {
    kind: "bitwise",
    data: {
      ...{ sreg: NFT_REG.r1, dreg: NFT_REG.r1, length: mask.length },
      ...{ mask: { value: mask }, xor: { value: new Uint8Array(mask.length) } },
    },
  };
}

function compareR1(op: number, value: Uint8Array): Statement["expressions"][number] {
  return { kind: "cmp", data: { sreg: NFT_REG.r1, op, data: { value } } };
}
