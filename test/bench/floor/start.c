/* The floor of VERSION and STATUS: a process that reads its call and answers. */
#include "floor.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
	struct call call = read_call();

	if (strcmp(call.command, "VERSION") == 0)
		puts("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}");
	return 0;
}
