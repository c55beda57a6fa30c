# environment.sh -- the variables that the build sees: dates, search paths, compilers.
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here

phase_set_SOURCE_DATE_EPOCH() {
    SOURCE_DATE_EPOCH=1
    export SOURCE_DATE_EPOCH
}

# append_directory VARIABLE DIRECTORY: append DIRECTORY, if it exists, to a search path.
append_directory() {
    [ -d "$2" ] || return 0
    eval "value=\${$1:-}"
    eval "$1=\${value:+\$value:}\$2"
}

# Search paths from the inputs, in the order of `inputs'.
phase_set_paths() {
    # shellcheck disable=SC2123 # that is what this is for
    PATH=
    for input in $inputs; do
        append_directory PATH "$input/bin"
        append_directory PATH "$input/sbin"
    done
    case $stage in
        stage0 | libc)
            # The seed is the root here; it comes last, so that a tool of the store wins.
            for directory in /usr/bin /bin /usr/sbin /sbin; do
                append_directory PATH "$directory"
            done
            ;;
        *)
            # Not libc's and gcc's headers: gcc knows them, and naming them here
            # would move them before libstdc++'s, whose #include_next then finds
            # nothing.
            for input in $inputs; do
                append_directory LIBRARY_PATH "$input/lib"
                case $input in
                    "${input_libc:-}" | "${input_gcc:-}") continue ;;
                esac
                append_directory C_INCLUDE_PATH "$input/include"
                append_directory CPLUS_INCLUDE_PATH "$input/include"
            done
            ;;
    esac
    for variable in PATH LIBRARY_PATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH; do
        eval "value=\${$variable:-}"
        # An empty entry would mean the current directory: export no empty path.
        [ -n "$value" ] || continue
        export "${variable?}"
        echo "environment variable \`$variable' set to \`$value'"
    done
    set_shell
    set_compilers
}

# set_shell: `shell' is the shell for configure and make.  The final sandboxes have no
# /bin/sh, so everything that would run one must be told.
set_shell() {
    case $stage in
        stage0 | libc) shell=/bin/sh ;;
        *) shell=$input_bash/bin/bash ;;
    esac
    CONFIG_SHELL=$shell
    SHELL=$shell
    export CONFIG_SHELL SHELL
}

# default VARIABLE VALUE: export VARIABLE, unless the recipe's environment set it.
default() {
    eval "[ -n \"\${$1+set}\" ]" || eval "$1=\$2"
    export "${1?}"
}

# set_compilers: no -g anywhere, strip would only remove it again.
set_compilers() {
    case $stage in
        stage0 | libc)
            default CC cc
            default CXX c++
            default CFLAGS -O1
            default CXXFLAGS -O1
            # Every stage0 program runs where there is no loader and no libc.
            default LDFLAGS -static
            ;;
        *)
            default CFLAGS -O2
            default CXXFLAGS -O2
            ;;
    esac
    # No texinfo in the seed nor among the final inputs: documentation stays as the
    # source ships it.
    default MAKEINFO true
}

phase_install_locale() {
    LC_ALL=C
    export LC_ALL
    # FreeBSD's C library looks for locales in /usr/share, which no sandbox after stage0 has.
    if [ -d "${input_libc:-}/share/locale" ]; then
        PATH_LOCALE=$input_libc/share/locale
        export PATH_LOCALE
    fi
}
