# shellcheck shell=sh

# All that is compiled are modules, ELF files of no processor, which strip refuses.
delete_phase strip
