#!/bin/sh
# Becomes a pod's container: runs inside its new network, mount and host name namespaces, waits for its network card, builds
# the image's root file system from what is on this machine, and ends as the container's command, with its user and without rights.
#
#   enter-pod.sh NAME ROOT ADDRESS ETC APP NODE_BIN USER READ_ONLY [SOURCE TARGET]... -- VARIABLE=VALUE... COMMAND...
set -eu
hostname "$1"
root=$2 address=$3 etc=$4 app=$5 node=$6 user=$7 read_only=$8
shift 8

# The runner writes a line when it has put the card into this namespace.
read -r _
ip link set lo up
ip address add "$address/32" dev eth0
ip link set eth0 up
ip route add 10.244.0.1 dev eth0
ip route add default via 10.244.0.1

mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir usr etc dev proc app nodejs nodejs/bin
mkdir -m 1777 tmp
mount --rbind /usr usr
for link in bin sbin lib lib32 lib64; do
  if [ -L "/$link" ]; then cp -P "/$link" "$link"
  elif [ -d "/$link" ]; then mkdir "$link" && mount --rbind "/$link" "$link"; fi
done
mount --rbind /dev dev
mount --rbind /proc proc
mount --bind "$etc" etc
mount --bind "$app" app
mount --bind "$node" nodejs/bin
while [ "$1" != -- ]; do
  mkdir -p ".$2"
  mount --bind "$1" ".$2"
  shift 2
done
shift
if [ "$read_only" = true ]; then
  for part in . usr etc app nodejs/bin; do mount -o remount,bind,ro "$part"; done
fi

if [ "$user" != 0 ]; then
  exec chroot . /usr/bin/setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all -- /usr/bin/env -i "$@"
fi
exec chroot . /usr/bin/env -i "$@"
