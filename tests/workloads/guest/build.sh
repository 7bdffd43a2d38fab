# SPDX-License-Identifier: Apache-2.0
# A program of two files is built twice: the second time from ccache.
# shellcheck shell=sh
cat >main.c <<'C'
#include <stdio.h>
int answer(void);
int main(void)
{
    printf("%d", answer());
}
C
echo 'int answer(void) { return 42; }' >answer.c
# shellcheck disable=SC2016 # make's variable
printf 'program: main.o answer.o\n\t$(CC) -o program main.o answer.o\n' >Makefile
make CC='ccache gcc'
rm program ./*.o
make CC='ccache gcc'
ccache -s | grep -E 'Hits: *2 /'
echo "$(./program), of the cache"
