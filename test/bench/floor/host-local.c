/* The floor of host-local alone. */
#include "floor.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	struct call call = read_call();

	if (strcmp(call.command, "ADD") == 0) {
		struct address pod = reserve(&call);
		char text[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &pod.ip, text, sizeof(text));
		printf("{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"%s/%d\"}]}\n", text, pod.length);
	} else if (strcmp(call.command, "DEL") == 0) {
		release(&call);
	}
	return 0;
}
