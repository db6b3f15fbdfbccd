// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package redact

var systemRules = []rule{
	{"chpasswd newusers", "<USER:SECRET", "echo root:«hunter» | chpasswd", "echo done | cat"},
	{"passwd smbpasswd htpasswd vncpasswd tigervncpasswd kinit saslpasswd2 cryptsetup systemd-ask-password pdbedit kadmin ecryptfs-wrap-passphrase slappasswd mkpasswd systemd-creds", "<SECRET", "echo «hunter» | passwd --stdin root", "echo x | cat"},
	{"sudo", "-S|--stdin|-Sk|-kS|-nS|-ES <SECRET", "echo «hunter» | sudo -S ls", "echo x | sudo tee f"},
	{"su", "<SECRET", "echo «hunter» | su root", "echo x | cat"},
	{"useradd usermod adduser groupmod", "-p SECRET", "usermod -p«hunter» a", "usermod -aG wheel a"},
	{"htpasswd htdbm", "~b ... LAST", "htpasswd -nbB a «hunter»", "htpasswd -c f a"},
	{"htpasswd", "-C PLAIN", "", "htpasswd -C x1 f a"},
	{"htpasswd", "-p PLAIN", "", "htpasswd -p f1 a"},
	{"htdigest slappasswd", "-s|-h SECRET", "slappasswd -s «hunter»", "slappasswd -g"},
	{"mkpasswd", "LAST", "mkpasswd «hunter»", "mkpasswd -l"},
	{"mkpasswd", "-m|-S|-R|-l|-d|-c PLAIN", "", "mkpasswd -m sha-512 -s"},
	{"smbpasswd", "* SECRET", "smbpasswd bob «hunter»", "smbpasswd -x bob"},
	{"openssl", "-k|-K|-pass|-passin|-passout|-nomacver SECRET", "openssl enc -k «hunter» -in a", "openssl x509 -in a"},
	{"openssl", "-key|-inkey|-CAkey|-privkey|-sigopt|-signkey|-sign|-signature|-iv|-S|-salt|-in|-out|-cert|-keyform|-pubkey|-p|-hmac-env PLAIN", "", "openssl req -key a1 -out b1"},
	{"openssl", "passwd LAST", "openssl passwd -6 -salt a «hunter»", "openssl passwd -stdin"},
	{"openssl", "passwd -stdin <SECRET", "echo «hunter» | openssl passwd -6 -stdin", "echo x | openssl base64"},
	{"openssl", "stdin <SECRET", "echo «hunter» | openssl rsa -passin stdin -in a", "echo x | openssl base64"},
	{"gpg gpg2", "--passphrase-fd <SECRET", "echo «hunter» | gpg --passphrase-fd 0 -d a", "echo x | gpg -e"},
	{"gpg-preset-passphrase", "-P|--passphrase SECRET", "gpg-preset-passphrase -P «hunter» a", "gpg-preset-passphrase --forget a"},
	{"keytool jarsigner apksigner", "-storepass|-keypass|-srcstorepass|-deststorepass|-srckeypass|-destkeypass|-new|--ks-pass|--key-pass SECRET", "keytool -new «hunter»", "keytool -list"},
	{"signtool osslsigncode", "/p SECRET", "signtool sign /p «hunter» a.exe", "signtool verify a.exe"},
	{"certutil pk12util", "-W|-K|-p SECRET", "pk12util -o a -W «hunter»", "pk12util -l a"},
	{"7z 7za 7zr 7zz p7zip", "-p JOINED", "7z a -p«hunter» x.7z d", "7z a x.7z d"},
	{"rar unrar", "-p JOINED", "rar a -p«hunter» x d", "rar a -p x d"},
	{"rar unrar", "-hpSECRET", "rar a -hp«hunter» x d", "rar a x d"},
	{"zip unzip zipcloak funzip", "-P SECRET", "zip -P «hunter» x d", "zip -r x d"},
	{"ar arj", "-g SECRET", "arj a -g «hunter» x", "arj l x"},
	{"pdftk", "user_pw|owner_pw|input_pw SECRET", "pdftk a output b user_pw «hunter»", "pdftk a cat 1 output b"},
	{"qpdf", "--encrypt SECRET", "qpdf --encrypt «hunter» «hunter3» 256 -- a b", "qpdf --decrypt a b"},
	{"qpdf", "--encrypt ... SECRET", "qpdf --encrypt «hunter» «hunter3» 256 -- a b", "qpdf --decrypt a b"},
	{"mutool pdfcpu", "-p SECRET", "mutool clean -p«hunter» a", "mutool info a"},
	{"mount mount.cifs umount", "-o|-p|-O PLAIN", "", "mount -o ro1 /d /m"},
	{"veracrypt truecrypt", "-p|--password SECRET", "veracrypt -p«hunter» a", "veracrypt -l"},
	{"cryptsetup", "-p|-d|-S|-c|-s|-h|--key-slot PLAIN", "", "cryptsetup -p x1 open a b"},
	{"zfs", "load-key|create|change-key <SECRET", "echo «hunter» | zfs load-key a", "zfs list"},
	{"ecryptfs-add-passphrase", "<SECRET", "printf «hunter» | ecryptfs-add-passphrase", "ecryptfs-stat a"},
	{"kadmin kadmin.local", "-w|-pw SECRET", "kadmin -p a -w «hunter»", "kadmin -q listprincs"},
	{"kadmin kadmin.local kinit ktutil", "-p|-k|-t|-c PLAIN", "", "kadmin -p admin1 -q listprincs"},
	{"realm adcli ipa-client-install msktutil", "-w|--stdin-password|--one-time-password SECRET", "ipa-client-install -w «hunter»", "ipa-client-install -U"},
	{"ipa-client-install", "-p|-a|-P PLAIN", "", "ipa-client-install -p admin1"},
	{"ipa-server-install", "-a|-p SECRET", "ipa-server-install -a «hunter»", "ipa-server-install -n a"},
	{"grub-mkpasswd-pbkdf2", "<SECRET", "echo «hunter» | grub-mkpasswd-pbkdf2", "grub-install a"},
	{"security", "add-generic-password|add-internet-password|unlock-keychain|create-keychain|set-keychain-password|import -w|-p|-P SECRET", "security unlock-keychain -p«hunter» a", "security list-keychains"},
	{"secret-tool", "store <SECRET", "echo «hunter» | secret-tool store --label=a b c", "secret-tool lookup b c"},
	{"jenkins java jar", "-p PLAIN", "", "java -p mods1 -m a"},
	{"wsadmin jboss-cli standalone add-user", "-p SECRET", "add-user.sh -u a -p«hunter»", "add-user.sh -u a"},
	{"asadmin", "-p PLAIN", "", "asadmin -p p4848"},
}

// plainRules are programs whose -p is not a secret.
var plainRules = []rule{
	{
		`mkdir cp mv tar bsdtar star cpio rsync install touch ps perl bash sh make cmake ninja gcc g++ cc c++ clang clang++ ld systemctl tini ffmpeg
		gunicorn nginx pytest find pgrep pkill kill lsof pmap top htop strace ltrace perf gdb gdbserver pstack iostat pidstat taskset chrt renice ionice
		journalctl loginctl tmux screen read unshare nsenter setpriv xargs parallel less more pr cargo rustc rustup go python python2 python3 pip pip3
		uv poetry-core ruby bundle rake rails php composer tsc jest vitest webpack vite eslint prettier playwright claude codex gemini git hg
		pacman dpkg rpm apk emerge nix brew snap flatpak bazel buck meson ctest virsh qemu-img losetup parted sgdisk fdisk lvcreate mkfs cgexec
		uvicorn hypercorn daphne uwsgi celery flask streamlit gradio jupyter jupyter-lab php-fpm lighttpd apachectl httpd haproxy varnishd caddy
		traefik envoy memcached nats-server gnatsd rabbitmq-server kafka-topics kafka-console-consumer kafka-console-producer kcat kafkacat
		zookeeper consul-template nomad supervisord supervisorctl monit cron crond sshd dockerd containerd kubelet kube-apiserver kind minikube k3d
		json_pp jq yq protoc lpr lp enscript convert magick dot asterisk freeswitch sipp dig nslookup host stress stress-ng fio dd pv pigz bzip2 xz
		rdiff patch diff ed sed awk gawk grep egrep sort cut stat getent date umask trap export declare local type command adb mpirun srun sbatch
		salloc qsub bsub snakemake nextflow bwa samtools blender godot vlc mpv http-server live-server serve ruff black mypy tox nox locust k6
		gatling jmeter newman tcpreplay aplay arecord ssh-add ssh-agent`,
		"-p|-P PLAIN", "", "mkdir -p x1",
	},
	{"tmux screen systemd-run machinectl virsh psql", "-u|-U|--user PLAIN", "", "systemd-run --user x1"},
	{"journalctl systemctl sudo su runuser chroot gosu setpriv start-stop-daemon chpst s6-setuidgid nginx mysqld mysqld_safe postgres", "-u|-U|--user|--unit PLAIN", "", "journalctl -u a:b"},
}
