#include <stdio.h>
#include <stdlib.h>

struct node {
	int value;
	struct node *next;
};

static struct node *
push(struct node *head, int value)
{
	struct node *node = malloc(sizeof(*node));
	if (node == NULL)
		abort();
	node->value = value;
	node->next = head;
	return node;
}

static int sum(const struct node *head)
{
	int total = 0;
	for (; head != NULL; head = head->next)
		total += head->value;
	return total;
}

int main(int argc, char **argv)
{
	struct node *head = NULL;
	for (int i = 1; i < argc; i++) {
		head = push(head,
			    atoi(argv[i]));
	}
	if (head == NULL) {
		fprintf(stderr, "usage: %s NUMBER...\n",
			argv[0]);
		return 1;
	}
	printf("%d\n", sum(head));
	return 0;
}
