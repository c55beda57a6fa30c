# Debian's archive of make 4.3 lacks configure, config.h.in, the Makefile.in files and,
# for its licence, doc/.  This makes them again, in a root with autoconf and automake.
#
# shellcheck shell=sh disable=SC2154 # source and out come with the environment
set -eu
PATH=/usr/bin:/bin
export PATH

tar -xf "$source"
cd make-dfsg-*/

# Where doc/Makefile was, configure.ac names the top Makefile a second time, which
# autoconf refuses; and there is no manual page to install.
sed 's,po/Makefile.in Makefile ,po/Makefile.in ,' configure.ac >configure.ac.new
mv configure.ac.new configure.ac
# shellcheck disable=SC2016 # make's variable
sed '/^man_MANS/d; s/\$(man_MANS)//' Makefile.am >Makefile.am.new
mv Makefile.am.new Makefile.am

# Guile is looked for with pkg-config, whose macros this root does not have: there
# is no pkg-config, and no guile, where this make is built.
cat >m4/pkg.m4 <<'EOF'
AC_DEFUN([PKG_PROG_PKG_CONFIG], [:])
AC_DEFUN([PKG_CHECK_EXISTS], [:])
AC_DEFUN([PKG_CHECK_MODULES], [AC_SUBST([$1_CFLAGS])AC_SUBST([$1_LIBS]):])
EOF

# Not autoreconf: it would want autopoint and gettext, whose files are all here.
aclocal -I m4
autoconf
autoheader
automake --add-missing --copy
rm -rf autom4te.cache

mkdir "$out"
cp -R . "$out"
