#!/bin/sh
# Makes a Debian one of the dnf family, as far as programs can tell: dnf is the system's own, apt is not there.
set -eu
here=$(dirname "$0")
rm /usr/bin/apt-get
cat >/usr/lib/os-release <<'END'
NAME="Rocky Linux"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.4"
PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"
END
# Debian's rpm keeps a database in each user's home.
mkdir -p /etc/rpm /etc/yum.repos.d /usr/lib/systemd/system-preset
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros
# Enterprise Linux leaves services off until somebody wants them.
echo 'disable *' >/usr/lib/systemd/system-preset/99-default-disable.preset
rpmbuild --quiet --define "_topdir /root/rpmbuild" --define "_sourcedir $here" --define '_rpmdir /srv/repository' \
    -bb "$here/docker-ce.spec"
createrepo_c --quiet /srv/repository
rpm --install --force-debian /srv/repository/noarch/lab-release-*.rpm
sed -i 's/^skip_if_unavailable=.*/skip_if_unavailable=False/' /etc/dnf/dnf.conf
cat >/etc/yum.repos.d/docker-ce.repo <<'END'
[docker-ce-stable]
name=Docker CE Stable - local
baseurl=file:///srv/repository
enabled=1
gpgcheck=0
END
rm -rf /root/rpmbuild "$here"
