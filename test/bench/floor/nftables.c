#include "floor.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

static void add_border(struct batch *batch, uint16_t type)
{
	struct nfgenmsg header = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES) };

	add_message(batch, type, 0, &header, sizeof(header));
}

void begin_elements(struct batch *batch)
{
	add_border(batch, NFNL_MSG_BATCH_BEGIN);
}

void add_elements(struct batch *batch, bool remove, const char *table, const char *set, size_t *list)
{
	struct nfgenmsg header = { .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };
	uint16_t type = remove ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM;

	add_message(batch, NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_ACK | (remove ? 0 : NLM_F_CREATE), &header, sizeof(header));
	add_string(batch, NFTA_SET_ELEM_LIST_TABLE, table);
	add_string(batch, NFTA_SET_ELEM_LIST_SET, set);
	*list = begin_nested(batch, NFTA_SET_ELEM_LIST_ELEMENTS);
}

void end_elements(struct batch *batch, size_t list)
{
	end_nested(batch, list);
}

static void add_value(struct batch *batch, uint16_t type, const void *value, size_t size)
{
	size_t at = begin_nested(batch, type);

	add_attribute(batch, NFTA_DATA_VALUE, value, size);
	end_nested(batch, at);
}

void add_element(struct batch *batch, const struct element *element)
{
	size_t at = begin_nested(batch, NFTA_LIST_ELEM), data, verdict;

	add_value(batch, NFTA_SET_ELEM_KEY, element->key, element->size);
	if (element->key_end)
		add_value(batch, NFTA_SET_ELEM_KEY_END, element->key_end, element->size);
	if (element->value)
		add_value(batch, NFTA_SET_ELEM_DATA, element->value, element->value_size);
	if (element->jump) {
		data = begin_nested(batch, NFTA_SET_ELEM_DATA);
		verdict = begin_nested(batch, NFTA_DATA_VERDICT);
		add_u32(batch, NFTA_VERDICT_CODE, htonl(NFT_JUMP));
		add_string(batch, NFTA_VERDICT_CHAIN, element->jump);
		end_nested(batch, verdict);
		end_nested(batch, data);
	}
	end_nested(batch, at);
}

void commit_elements(struct batch *batch, const char *what, int tolerated)
{
	add_border(batch, NFNL_MSG_BATCH_END);
	commit(open_socket(NETLINK_NETFILTER), batch, what, tolerated);
}

bool wants_masquerade(const struct call *call)
{
	char value[8];

	return find_value(call->text, "ipMasq", value, sizeof(value)) && strcmp(value, "true") == 0;
}

void masquerade(const struct address *pod, bool remove)
{
	struct batch batch = { .length = 0 };
	struct in_addr key[] = { pod->ip, network_of(*pod, false) }, key_end[] = { pod->ip, network_of(*pod, true) };
	size_t list;

	begin_elements(&batch);
	add_elements(&batch, remove, "floor_masquerade", "pods4", &list);
	add_element(&batch, &(struct element){ .key = &pod->ip, .size = sizeof(pod->ip) });
	end_elements(&batch, list);
	add_elements(&batch, remove, "floor_masquerade", "pod-subnets4", &list);
	add_element(&batch, &(struct element){ .key = key, .key_end = key_end, .size = sizeof(key) });
	end_elements(&batch, list);
	commit_elements(&batch, "masquerade", remove ? ENOENT : 0);
}
