/* SPDX-License-Identifier: GPL-3.0-or-later

   libc-paths -- make a C library use other paths than those compiled into it.

   usage: libc-paths FILE OLD=NEW...

   FILE is a shared library of x86-64 (ELF, 64 bits, little-endian).  Wherever its code takes the address of
   the string OLD, it takes that of NEW afterwards.

   A longer string has no room where OLD is.  The new ones lie in the library's RUNPATH: patchelf must have
   set that to DIRECTORY:NEW:NEW..., in the order of the arguments.  This program puts a zero byte in place of
   each colon before a NEW, so RUNPATH is DIRECTORY again, and each NEW a string of its own.  No header, section
   or size changes.

   Code takes the address of a string with `lea DISPLACEMENT(%rip), REGISTER' (a REX prefix, 8D, a ModRM byte
   with mod 0 and r/m 5; Intel's manual, volume 2, LEA).  A displacement that hits OLD in another instruction is
   an error, because a part of OLD may have been compiled into that code.

   It prints how many instructions were changed for each string.  Exit status 1: FILE is not such a library, or
   OLD or NEW is not in it, or OLD is not used; FILE is unchanged then.  */

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name;
static unsigned char *bytes;
static size_t size;

static void
fail (const char *what, const char *which)
{
  fprintf (stderr, "libc-paths: %s: %s%s%s\n", name, what, which != NULL ? ": " : "", which != NULL ? which : "");
  exit (1);
}

static void
read_file (void)
{
  FILE *file = fopen (name, "rb");
  long end;

  if (file == NULL || fseek (file, 0, SEEK_END) != 0 || (end = ftell (file)) < 0 || fseek (file, 0, SEEK_SET) != 0)
    fail (strerror (errno), NULL);
  size = (size_t) end;
  bytes = malloc (size + 1);
  if (bytes == NULL || fread (bytes, 1, size, file) != size)
    fail ("cannot be read", NULL);
  fclose (file);
}

static void
write_file (void)
{
  FILE *file = fopen (name, "r+b");

  if (file == NULL || fwrite (bytes, 1, size, file) != size || fclose (file) != 0)
    fail (strerror (errno), NULL);
}

/* The program headers that say which parts of the file are loaded, in `segments'.  */
#define MOST_SEGMENTS 64
static Elf64_Phdr segments[MOST_SEGMENTS];
static size_t segment_count;

static void
read_segments (void)
{
  Elf64_Ehdr header;
  size_t i;

  if (size < sizeof header)
    fail ("is not an ELF file", NULL);
  memcpy (&header, bytes, sizeof header);
  if (memcmp (header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64
      || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64 || header.e_type != ET_DYN)
    fail ("is not a shared library of x86-64", NULL);
  if (header.e_phentsize != sizeof (Elf64_Phdr) || header.e_phnum > MOST_SEGMENTS || header.e_phoff > size
      || header.e_phnum * sizeof (Elf64_Phdr) > size - header.e_phoff)
    fail ("has bad program headers", NULL);
  for (i = 0; i < header.e_phnum; i++)
    {
      Elf64_Phdr segment;
      memcpy (&segment, bytes + header.e_phoff + i * sizeof segment, sizeof segment);
      if (segment.p_type != PT_LOAD)
        continue;
      if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset)
        fail ("has a segment beyond its end", NULL);
      segments[segment_count++] = segment;
    }
}

/* Is the part of the file from OFFSET on, LENGTH bytes long, in memory?  Then its address is in *ADDRESS.  */
static int
address_of (size_t offset, size_t length, uint64_t *address)
{
  size_t i;

  for (i = 0; i < segment_count; i++)
    if (offset >= segments[i].p_offset && offset + length <= segments[i].p_offset + segments[i].p_filesz)
      {
        *address = segments[i].p_vaddr + (offset - segments[i].p_offset);
        return 1;
      }
  return 0;
}

/* The first place at or after START that holds the LENGTH bytes of TEXT, or SIZE.  */
static size_t
find (size_t start, const char *text, size_t length)
{
  size_t i;

  for (i = start; i + length <= size; i++)
    if (bytes[i] == (unsigned char) text[0] && memcmp (bytes + i, text, length) == 0)
      return i;
  return size;
}

/* Let the code that takes address OLD take address NEW; return how many instructions that were.  */
static size_t
redirect (uint64_t old, uint64_t new, const char *which)
{
  size_t count = 0;
  size_t i;

  for (i = 0; i < segment_count; i++)
    {
      size_t first = segments[i].p_offset;
      size_t place;

      if ((segments[i].p_flags & PF_X) == 0)
        continue;
      for (place = first + 3; place + 4 <= first + segments[i].p_filesz; place++)
        {
          uint64_t next = segments[i].p_vaddr + (place - first) + 4;
          int32_t displacement;
          int64_t wanted = (int64_t) (new - next);

          memcpy (&displacement, bytes + place, sizeof displacement);
          if (next + (uint64_t) (int64_t) displacement != old)
            continue;
          if ((bytes[place - 3] & 0xfb) != 0x48 || bytes[place - 2] != 0x8d || (bytes[place - 1] & 0xc7) != 0x05)
            fail ("uses a string in another way than by its address", which);
          if (wanted > INT32_MAX || wanted < INT32_MIN)
            fail ("is too large", NULL);
          displacement = (int32_t) wanted;
          memcpy (bytes + place, &displacement, sizeof displacement);
          count++;
        }
    }
  return count;
}

int
main (int argc, char **argv)
{
  size_t length = 0;
  size_t place;
  char *runpath;
  int i;

  if (argc < 3)
    {
      fprintf (stderr, "usage: libc-paths FILE OLD=NEW...\n");
      return 2;
    }
  name = argv[1];
  for (i = 2; i < argc; i++)
    {
      if (strchr (argv[i], '=') == NULL || argv[i][0] == '=')
        fail ("expected OLD=NEW", argv[i]);
      length += strlen (argv[i]);
    }
  read_file ();
  read_segments ();

  /* Where the new strings are.  */
  runpath = malloc (length + 1);
  if (runpath == NULL)
    fail ("no memory", NULL);
  runpath[0] = '\0';
  for (i = 2; i < argc; i++)
    {
      strcat (runpath, ":");
      strcat (runpath, strchr (argv[i], '=') + 1);
    }
  place = find (0, runpath, strlen (runpath) + 1);
  if (place == size || find (place + 1, runpath, strlen (runpath) + 1) != size)
    fail ("its RUNPATH does not end in the new strings", runpath);

  for (i = 2; i < argc; i++)
    {
      char *equals = strchr (argv[i], '=');
      const char *new = equals + 1;
      uint64_t new_address;
      uint64_t old_address;
      size_t count = 0;
      size_t old;

      *equals = '\0';
      bytes[place] = '\0';
      if (!address_of (place + 1, strlen (new) + 1, &new_address))
        fail ("a new string is not in a loaded segment", new);
      place += 1 + strlen (new);
      /* The linker may have kept several, also as the end of a longer string.  */
      for (old = find (0, argv[i], equals - argv[i] + 1); old != size; old = find (old + 1, argv[i], equals - argv[i] + 1))
        if (address_of (old, equals - argv[i] + 1, &old_address))
          count += redirect (old_address, new_address, argv[i]);
      if (count == 0)
        fail ("no code takes the address of a string", argv[i]);
      printf ("%s: %s is %s in %zu places\n", name, argv[i], new, count);
    }
  write_file ();
  return 0;
}
