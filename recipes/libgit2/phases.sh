# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

# libgit2 is built by CMake, which is not among the inputs. What CMake does here is this: it writes a header of what the
# system has, and compiles all files of a few folders. There is neither TLS nor SSH: Guix's client downloads by
# its daemon.
phase_configure() {
    mkdir http-parser
    tar -xf "$source_http_parser" -C http-parser --strip-components=1
    cp http-parser/http_parser.[ch] src/util/

    for feature in THREADS ARCH_64 USE_NSEC USE_STAT_MTIM USE_FUTIMENS REGEX_REGCOMP \
        HTTPPARSER_HTTPPARSER SHA1_COLLISIONDETECT SHA256_BUILTIN COMPRESSION_ZLIB \
        RAND_GETENTROPY RAND_GETLOADAVG IO_POLL IO_SELECT; do
        echo "#define GIT_$feature 1"
    done >src/util/git2_features.h
    # Objects of SHA-256 are an experiment.
    : >include/git2/experimental.h

    cat >Makefile <<'END'
SOURCES = $(wildcard src/libgit2/*.c src/libgit2/streams/*.c src/libgit2/transports/*.c deps/xdiff/*.c \
  src/util/*.c src/util/allocators/*.c src/util/unix/*.c src/util/hash/sha1dc/*.c src/util/hash/rfc6234/*.c) \
  src/util/hash/builtin.c src/util/hash/collisiondetect.c
OBJECTS = $(sort $(SOURCES:.c=.o))
DEFINES = -D_GNU_SOURCE -DSHA1DC_NO_STANDARD_INCLUDES=1 -DSHA1DC_CUSTOM_INCLUDE_SHA1_C='"git2_util.h"' \
  -DSHA1DC_CUSTOM_INCLUDE_UBC_CHECK_C='"git2_util.h"'

libgit2.so.$(version): $(OBJECTS)
	gcc -shared -Wl,-soname,libgit2.so.$(soversion) -o $@ $(OBJECTS) -lz -lpthread

%.o: %.c
	gcc $(CFLAGS) -fPIC -fvisibility=hidden -pthread $(DEFINES) -Isrc/libgit2 -Isrc/util -Ideps/xdiff -Iinclude -c -o $@ $<
END
}

phase_build() {
    run_make "version=$version" "soversion=${version%.*}"
}

phase_install() {
    mkdir -p "$out/lib/pkgconfig" "$out/include"
    cp "libgit2.so.$version" "$out/lib/"
    ln -s "libgit2.so.$version" "$out/lib/libgit2.so.${version%.*}"
    ln -s "libgit2.so.${version%.*}" "$out/lib/libgit2.so"
    cp -R include/git2 include/git2.h "$out/include/"
    cat >"$out/lib/pkgconfig/libgit2.pc" <<END
prefix=$out
libdir=$out/lib
includedir=$out/include

Name: libgit2
Description: Git as a library
Version: $version
Libs: -L$out/lib -lgit2
Cflags: -I$out/include
END
}
