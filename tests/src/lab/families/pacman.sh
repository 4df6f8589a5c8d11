#!/bin/sh
# Makes a Debian one of the pacman family, as far as programs can tell: pacman is the system's own, apt is not there.
set -eu
here=$(dirname "$0")
rm /usr/bin/apt-get
cat >/usr/lib/os-release <<'END'
NAME="Arch Linux"
ID=arch
PRETTY_NAME="Arch Linux"
BUILD_ID=rolling
END
mkdir -p /etc/pacman.d /srv/repository
cat >/etc/pacman.d/mirrorlist <<'END'
Server = file:///srv/repository
END
cat >>/etc/pacman.conf <<'END'

[extra]
SigLevel = Never
Include = /etc/pacman.d/mirrorlist
END
# $1 name, $2 what it needs; its files lie in the current folder. makepkg does not run as root.
package() {
    {
        echo "pkgname = $1"
        echo "pkgver = 26.1.4-1"
        echo "pkgdesc = stands in for $1"
        echo "arch = any"
        for needed in $2; do echo "depend = $needed"; done
    } >.PKGINFO
    bsdtar --create --zstd --uid 0 --gid 0 --file "/srv/repository/$1-26.1.4-1-any.pkg.tar.zst" .PKGINFO $3 usr
}
work=$(mktemp -d)
mkdir -p "$work/filesystem/usr/share/filesystem" "$work/containerd/usr/share/containerd" "$work/docker"
cd "$work/filesystem" && package filesystem '' ''
cd "$work/containerd" && package containerd '' ''
cd "$work/docker"
install -D -m 0755 "$here/dockerd" usr/bin/dockerd
install -D -m 0755 "$here/docker" usr/bin/docker
install -D -m 0644 "$here/docker.service" usr/lib/systemd/system/docker.service
cat >.INSTALL <<'END'
post_install() {
    getent group docker >/dev/null || groupadd --system docker
    systemctl daemon-reload
}

pre_remove() {
    systemctl disable --quiet --now docker.service
}
END
package docker containerd .INSTALL
cd /
repo-add --quiet /srv/repository/extra.db.tar.gz /srv/repository/*.pkg.tar.zst
# No Arch is without any package, and pacman takes asking for them then for a failure.
sed /^CheckSpace/d /etc/pacman.conf >"$work/no-mounts-in-a-chroot.conf"
pacman --config "$work/no-mounts-in-a-chroot.conf" --upgrade --noconfirm /srv/repository/filesystem-*.pkg.tar.zst
rm -rf "$work" "$here"
