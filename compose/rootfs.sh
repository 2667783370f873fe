#!/usr/bin/env bash
# rootfs.sh FOLDER PROGRAM...: puts into FOLDER what the programs need of a system and nothing else: the shared libraries
# they are linked to with the loader, certificate authorities, names for the user and for the way host names are looked up.
set -Eeuo pipefail
root="$1"
shift

# Without nsswitch.conf the C library asks DNS before /etc/hosts.
install -d "$root/etc/ssl/certs" "$root/usr/local/bin" "$root/var/empty"
install -d -m 1777 "$root/tmp"
printf 'root:x:0:0::/:/sbin/nologin\nevent:x:10001:10001::/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nevent:x:10001:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

# Each line of ldd is `name => path (address)`, or `path (address)` for the loader; a missing library ends the build.
libraries="$(ldd "$@")"
if grep -F 'not found' <<<"$libraries" >&2; then exit 1; fi
grep -oE '/[^ :]+ \(0x' <<<"$libraries" | cut -d ' ' -f 1 | sort -u | while read -r library; do
  cp -L --parents "$library" "$root"
done
