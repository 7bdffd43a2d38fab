# SPDX-License-Identifier: Apache-2.0
# An image is made of one program, and a container of it run: layers are plain folders (vfs), as overlays
# of an overlay need fuse-overlayfs; the network is the VM's, as the kernel has no bridges.
# shellcheck shell=sh
mkdir -p image/bin /etc/containers
for file in /bin/busybox $(ldd /bin/busybox | grep -o '/[^ ]*'); do
    mkdir -p "image$(dirname "$file")"
    cp -L "$file" "image$file"
done
ln -s busybox image/bin/sh
printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers"\ngraphroot = "/var/lib/containers/storage"\n' \
    >/etc/containers/storage.conf
printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >/etc/containers/containers.conf
tar -c -C image . | podman import --quiet --change 'ENV SAID=contained' - local
podman save --quiet -o image.tar local
podman rmi --force local
podman load --quiet -i image.tar
# shellcheck disable=SC2016 # the container's shell
podman run --rm --network host local /bin/sh -c 'echo $SAID $$'
